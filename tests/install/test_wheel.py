"""The wheel in an empty environment: what a person gets who has no checkout."""

import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.hub.server import running
from tests.support.registry_world import picture, run
from tests.support.wheel_env import CannotInstall, Installed, build_wheel, find_uv, install_wheel

MOST = 150 * 2**20
"""Bytes that the core may take, without compiled modules."""


@pytest.fixture(scope="module")
def wheel(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    uv = find_uv(repo_root)
    if uv is None:
        pytest.skip("there is no uv to build the wheel with")
    try:
        return build_wheel(uv, repo_root, tmp_path_factory.mktemp("dist"))
    except CannotInstall as error:
        pytest.skip(f"the wheel cannot be built here: {error}")


@pytest.fixture(scope="module")
def installed(repo_root: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    try:
        return install_wheel(find_uv(repo_root) or "", wheel, tmp_path_factory.mktemp("install") / "env")
    except CannotInstall as error:
        pytest.skip(f"the wheel's packages are not to be had here: {error}")


@pytest.fixture
def clone(installed: Installed, tmp_path: Path) -> Path:
    """A git repository with DVC and a default remote, made with the environment's own dvc."""
    run(tmp_path, "git", "init", "--quiet", "--bare", "origin.git")
    run(tmp_path, "git", "clone", "--quiet", "origin.git", "clone")
    here = tmp_path / "clone"
    installed.run("dvc", "init", "--quiet", cwd=here)
    installed.run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "remote"), cwd=here)
    run(here, "git", "commit", "--quiet", "--all", "-m", "Begin")
    return here


@pytest.fixture
def variables(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Settings of an installation with a local Hub."""
    with running(tmp_path / "hub") as server:
        yield {
            "CONCEPTRY_REPO": str(tmp_path / "origin.git"),
            "CONCEPTRY_WORK": str(tmp_path / "work"),
            "CONCEPTRY_HUB_ENDPOINT": server.url,
            "CONCEPTRY_HUB_OWNER": "local",
            "CONCEPTRY_HUB_TOKEN": "hf_local",
        }


def pictures(folder: Path) -> Path:
    folder.mkdir()
    for index in range(4):
        (folder / f"{index}.png").write_bytes(picture("night-light", index))
    return folder


def test_the_wheel_holds_every_file_of_its_packages(wheel: Path, repo_root: Path) -> None:
    """What code reads beside itself lies in the wheel, as git tracks it."""
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    listed = subprocess.run(
        ["git", "ls-files", "-z", *sorted(packages)], cwd=repo_root, capture_output=True, text=True, check=True
    )
    assert {*filter(None, listed.stdout.split("\0"))} - names == set()
    assert "flows/prefect.yaml" in names
    assert not any(name.startswith("tests") for name in names)


def test_the_core_is_small_and_has_no_tensorflow(installed: Installed) -> None:
    files = [path for path in installed.site.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < MOST
    names = {path.name for path in installed.site.iterdir()}
    assert not names & {"tensorflow", "numpy", "scipy", "prefect", "google", "gradio"}
    done = installed.run("conceptry", "up", cwd=installed.folder, expect=1)
    assert "`conceptry up` needs prefect, tensorflow" in done.stderr
    assert "'conceptry[all] @ file://" in done.stderr, "the command that installs it, from where this came"


def test_a_concept_is_added_checked_and_planned_without_a_checkout(
    installed: Installed, clone: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    assert installed.run("conceptry", "--version", cwd=tmp_path).stdout.startswith("conceptry 0.")
    images = pictures(tmp_path / "pictures")
    options = ["--images", images, "--token", "<night-light>", "--init", "circle", "--base-model", "tiny"]
    new = installed.run("conceptry", "new", "night-light", *options, cwd=clone)
    assert "concepts/night-light with 4 pictures" in new.stdout
    assert "1 held out to judge the result by, 3 to train on" in new.stdout
    assert "was not checked, which needs TensorFlow" in new.stdout
    run(clone, "git", "add", "concepts")
    run(clone, "git", "commit", "--quiet", "-m", "Add night-light")
    unpushed = installed.run("conceptry", "lint", cwd=clone, expect=1)
    assert "run `dvc push`" in unpushed.stdout
    installed.run("dvc", "push", "--quiet", cwd=clone)
    run(clone, "git", "push", "--quiet")
    installed.run("conceptry", "lint", cwd=clone)
    planned = installed.run("conceptry", "plan", cwd=tmp_path, expect=2, **variables)
    assert "first version" in planned.stdout
    assert "Traceback" not in new.stderr + planned.stderr


def test_the_versions_of_the_hub_are_read(installed: Installed, variables: dict[str, str], tmp_path: Path) -> None:
    listed = installed.run("conceptry", "versions", "night-light", cwd=tmp_path, expect=None, **variables)
    shown = installed.run("conceptry", "show", "night-light", cwd=tmp_path, expect=1, **variables)
    assert "night-light" in listed.stdout + listed.stderr
    assert "error: " in shown.stderr
    assert "Traceback" not in listed.stderr + shown.stderr
