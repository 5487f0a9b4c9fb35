"""`conceptry base`: which weights are there, whether they are right, and copies of them for other machines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from cli.base_folder import choose_folder
from emulators.hub.server import running
from local.child_process import clean_environment
from local.current_setup import open_installation
from local.setup_folder import Folder, Setup
from tasks.processes import python_module
from tests.support.registry_world import World
from tests.support.weights_mirror import NAMES, WEIGHTS, mirror


def base(folder: Path, *arguments: str | Path, expect: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", **variables}
    command = python_module("cli", "base", *map(str, arguments))
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder with the files of `tiny`, which are small and have digests like all others."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in NAMES:
        shutil.copyfile(WEIGHTS / name, folder / name)
    return folder


def states(folder: Path, weights: Path, model: str = "tiny") -> set[str]:
    shown = json.loads(base(folder, "ls", "--dir", weights, "--json", expect=1).stdout)
    assert shown["folder"] == str(weights)
    return {one["state"] for one in shown["base_models"][model]}


def test_what_is_there_is_listed_and_what_was_verified_is_remembered(tmp_path: Path, weights: Path) -> None:
    assert states(tmp_path, weights) == {"not verified"}
    assert states(tmp_path, weights, "sd-v1-4") == {"missing"}
    done = base(tmp_path, "verify", "--dir", weights)
    assert "tiny: tiny.safetensors: verified" in done.stdout
    assert "conceptry base fetch --base-model sd-v1-4" in done.stdout
    assert states(tmp_path, weights) == {"verified"}


def test_a_file_that_changed_is_found_and_not_copied(tmp_path: Path, weights: Path) -> None:
    base(tmp_path, "verify", "--dir", weights)
    with (weights / NAMES[0]).open("r+b") as stream:
        stream.write(b"damage")
    assert states(tmp_path, weights) == {"verified", "not verified"}
    assert f"tiny: {NAMES[0]}: wrong" in base(tmp_path, "verify", "--dir", weights, expect=1).stdout
    copying = base(tmp_path, "mirror", tmp_path / "usb", "--base-model", "tiny", "--dir", weights, expect=1)
    assert f"not copied, because their sha256 is wrong: {NAMES[0]}" in copying.stderr
    assert not (tmp_path / "usb").exists()


def test_a_mirror_is_a_source_for_other_machines(tmp_path: Path, weights: Path) -> None:
    copies = tmp_path / "usb"
    for expected in ("2 files copied, 0 there", "0 files copied, 2 there"):
        done = base(tmp_path, "mirror", copies, "--base-model", "tiny", "--dir", weights)
        assert expected in done.stdout
    assert all((copies / name).read_bytes() == (WEIGHTS / name).read_bytes() for name in NAMES)
    with mirror(copies) as address:
        # What the project does not ship is asked for; the mirror has none of it.
        done = base(tmp_path, "fetch", "--into", tmp_path / "new", "--from", "http://127.0.0.1:9", "--from", address,
                    expect=1)  # fmt: skip
    assert "kcv_encoder.h5: http://127.0.0.1:9/kcv_encoder.h5" in done.stderr
    assert f"kcv_encoder.h5: {address}/kcv_encoder.h5 answers 404" in done.stderr


def test_a_mirror_of_what_is_not_here_says_how_to_get_it(tmp_path: Path, weights: Path) -> None:
    done = base(tmp_path, "mirror", tmp_path / "usb", "--dir", weights, expect=1)
    assert "kcv_diffusion_model.h5" in done.stderr
    assert "`conceptry base fetch --base-model sd-v1-4` downloads them" in done.stderr


def test_a_set_up_hands_its_weights_to_the_processes_that_train(tmp_path: Path, weights: Path) -> None:
    folder = Folder.at(tmp_path / "set-up")
    folder.write(Setup(repo=str(tmp_path / "origin.git"), base_dir=str(weights)))
    assert "CONCEPTRY_BASE_DIR" not in clean_environment()
    assert folder.read().variables(folder)["CONCEPTRY_BASE_DIR"] == str(weights)
    with open_installation(folder.root) as installation:
        assert installation.base_dir == weights
    folder.write(replace(folder.read(), base_dir=str(folder.root / "base")))
    (folder.root / "base").mkdir()
    folder.root.rename(tmp_path / "moved")
    assert Folder.at(tmp_path / "moved").read().base_dir == str(tmp_path / "moved" / "base")


def test_a_plan_says_before_a_run_that_weights_are_missing(tmp_path: Path, weights: Path) -> None:
    with running(tmp_path / "hub") as server:
        world = World(tmp_path, server.url, "")
        world.start()
        world.write("red-dog")
        world.write("real-dog", base_model="sd-v1-4", initializer_token="dog", seed=9)
        world.push()
        variables = {**world.variables(), "CONCEPTRY_BASE_DIR": str(weights), "PREFECT_API_URL": ""}
        command = python_module("cli", "plan", "--no-images")
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "warning: the weights of sd-v1-4 are not in" in done.stderr
    assert "`conceptry base fetch --base-model sd-v1-4`" in done.stderr
    assert "tiny" not in done.stderr


def test_a_set_up_that_runs_finds_weights_that_are_fetched_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CONCEPTRY_BASE_DIR", raising=False)
    expected = str(tmp_path / "cache" / "conceptry" / "sd-v1-4")
    assert str(choose_folder(None, "")) == expected
    assert str(choose_folder(None, "/mine")) == "/mine"
    monkeypatch.setenv("CONCEPTRY_BASE_DIR", "/named")
    assert str(choose_folder(None, "/mine")) == "/named"
