"""`conceptry init` in any folder, on real git and DVC."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conceptry.concept import json_schema
from conceptry.errors import SettingsError
from tasks.git.new_repository import NewRepository, prepare
from tasks.processes import python_module
from trainer.tiny.world import PAIRS, draw


def conceptry(folder: Path, *arguments: str | Path, expect: int = 0, **variables: str) -> str:
    environment = {**os.environ, "COLUMNS": "200", **variables}
    command = python_module("cli", *map(str, arguments))
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def files(folder: Path) -> dict[str, bytes]:
    ours = (path for path in folder.rglob("*") if path.is_file() and ".git/" not in path.as_posix() + "/")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in ours}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after `conceptry init --yes`, made once: DVC takes seconds."""
    folder = tmp_path_factory.mktemp("made") / "pets"
    said = conceptry(folder.parent, "init", folder, "--yes", "--base-model", "tiny")
    for what in ("git repository", "DVC", f"DVC remote {folder}-images", "/.conceptry/ in .gitignore"):
        assert f"made: {what}" in said
    assert f"cd {folder}" in said
    add = next(line for line in said.splitlines() if line.strip().startswith("git add"))
    run(folder, *add.split())
    assert run(folder, "git", "status", "--porcelain=v1", "--untracked-files=all").count("\n?? ") == 0
    run(folder, "git", "commit", "--quiet", "-m", "Prepare for concepts")
    assert "storage" in run(folder, "git", "show", "HEAD:.dvc/config")
    assert "conceptry new my-cat" in said
    return folder


def test_a_first_concept_can_be_added_committed_and_pushed_to_the_remote(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made, tmp_path / "pets")
    run(folder, sys.executable, "-m", "dvc", "remote", "modify", "storage", "url", str(tmp_path / "images"))
    assert json.loads((folder / "concepts" / "concept.schema.json").read_text()) == json_schema()
    (tmp_path / "pictures").mkdir()
    for index in range(3):
        draw(*PAIRS[0], np.random.default_rng(index)).save(tmp_path / "pictures" / f"{index}.png")
    options = ("--images", tmp_path / "pictures", "--token", "<a>", "--init", "circle", "--no-check")
    said = conceptry(folder, "new", "a", *options)
    assert "dvc push" in said
    assert "git push" not in said, "there is no origin: the clone itself is read"
    spec = (folder / "concepts" / "a" / "concept.yaml").read_text()
    assert spec.startswith("# yaml-language-server: $schema=../concept.schema.json")
    assert "\nbase_model: tiny\n" in spec
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "--quiet", "-m", "Begin")
    assert "concepts/a/images.dvc" in run(folder, "git", "ls-files")
    run(folder, sys.executable, "-m", "dvc", "push", "--quiet")
    assert (tmp_path / "images" / "files" / "md5").is_dir()


def test_again_it_changes_nothing(made: Path) -> None:
    before = files(made)
    said = conceptry(made, "init", "--yes", "--remote", made.parent / "other")
    assert "made:" not in said
    assert f"there: DVC remote {made}-images" in said
    assert f"dvc remote modify NAME url {made.parent / 'other'}" in said
    assert files(made) == before


def test_what_a_folder_has_already_stays(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / ".gitignore").write_text("*.log")
    run(folder, "git", "init", "--quiet", "-b", "trunk")
    prepared = prepare(NewRepository(folder, "s3://bucket/images"))
    assert "git repository" in prepared.kept
    assert (folder / ".gitignore").read_text() == "*.log\n/.conceptry/\n"
    assert run(folder, "git", "symbolic-ref", "--short", "HEAD") == "trunk"
    assert prepared.remote == "s3://bucket/images"
    assert "needs dvc-s3, which is not installed" in prepared.notes[0]
    again = prepare(NewRepository(folder))
    assert (again.made, again.remote) == ((), "s3://bucket/images")


def test_each_thing_that_stands_in_the_way_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "git", "init", "--quiet", "around")
    (tmp_path / "around" / "below").mkdir()
    for folder in (tmp_path / "around" / "below", tmp_path / "around" / "new" / "deep"):
        with pytest.raises(SettingsError, match=r"is inside of the git repository .*around; run `conceptry init"):
            prepare(NewRepository(folder))
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="is a file"):
        prepare(NewRepository(tmp_path / "file"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="git is not installed"):
        prepare(NewRepository(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_with_an_account_the_next_commands_name_it(tmp_path: Path) -> None:
    said = conceptry(tmp_path, "init", "pets", "--yes", "--hub-owner", "acme", "--base-model", "sd-v1-4",
                     HF_HOME=str(tmp_path / "cache"))  # fmt: skip
    assert "CONCEPTRY_HUB_OWNER=acme" in said
    assert "conceptry base fetch --base-model sd-v1-4" in said
    assert "there is no base model sd; choose tiny or sd-v1-4" in conceptry(
        tmp_path, "init", "p", "--yes", "--base-model", "sd", expect=2
    )


def test_on_a_terminal_it_asks_for_what_no_option_says(tmp_path: Path) -> None:
    """Enter takes the defaults."""
    main, other = pty.openpty()
    command = python_module("cli", "init", "pets")
    child = subprocess.Popen(
        command, cwd=tmp_path, stdin=other, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    os.write(main, b"\n\ntiny\n")
    said, _ = child.communicate(timeout=120)
    os.close(main)
    os.close(other)
    assert child.returncode == 0, said
    assert f"DVC remote, where the images are stored ({tmp_path / 'pets'}-images)" in said
    assert "draws one plain coloured shape" in said
    assert run(tmp_path / "pets", "git", "config", "conceptry.baseModel") == "tiny"
