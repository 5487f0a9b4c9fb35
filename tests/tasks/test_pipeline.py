"""dvc.yaml: DVC reads it, and its stages are the commands that exist, for the concepts that are listed."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conceptry.errors import ConceptryError
from tasks.dvc import add_to_pipeline

FILES = ("dvc.yaml", ".dvc/config", ".dvc/.gitignore", ".dvcignore", "trainer/recipe.py")


@pytest.fixture
def clone(tmp_path: Path, repo_root: Path) -> Path:
    """A clone of this repository as far as DVC is concerned, without its example."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    for file in FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repo_root / file, tmp_path / file)
    (tmp_path / "dvc.vars.yaml").write_text("concepts: []\n")
    return tmp_path


def dvc(clone: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=clone, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_repository_without_concepts_has_nothing_to_do(clone: Path) -> None:
    assert "up to date" in dvc(clone, "repro", "--dry")


def test_every_listed_concept_is_built_and_then_trained(clone: Path) -> None:
    for name in ("my-cat", "ant"):
        folder = clone / "concepts" / name
        (folder / "images").mkdir(parents=True)
        (folder / "images" / "a.png").write_bytes(b"picture")
        (folder / "concept.yaml").write_text("placeholder_token: <x>\ninitializer_token: cat\n")
        assert add_to_pipeline(clone, name) == clone / "dvc.vars.yaml"

        # A dry run runs nothing, so what the first stage would write must be there for the second.
        (clone / "trained" / name / "records").mkdir(parents=True)
        (clone / "trained" / name / "config.json").touch()

    said = dvc(clone, "repro", "--dry")

    commands = [shlex.split(line.removeprefix("> ")) for line in said.splitlines() if line.startswith("> ")]
    options = [{"-m": command[2], **dict(zip(command[3::2], command[4::2], strict=True))} for command in commands]
    builds = {each["--concept"]: each for each in options if each["-m"] == "tasks.records"}
    trainings = [each for each in options if each["-m"] == "trainer"]
    assert sorted(builds) == ["concepts/ant", "concepts/my-cat"]
    # What the first command writes is what the second reads.
    assert {(each["--output"], each["--config"]) for each in builds.values()} == {
        (each["--records"], each["--config"]) for each in trainings
    }
    assert len({each["--output"] for each in trainings}) == 2


def test_a_concept_is_added_to_the_list_once_and_in_order(tmp_path: Path) -> None:
    assert add_to_pipeline(tmp_path, "cat") is None, "a repository without the pipeline needs no list"

    path = tmp_path / "dvc.vars.yaml"
    path.write_text("# what this is\nconcepts: []\n")
    for name in ("dog", "cat"):
        assert add_to_pipeline(tmp_path, name) == path
    assert add_to_pipeline(tmp_path, "cat") is None
    assert path.read_text() == "# what this is\nconcepts:\n  - cat\n  - dog\n"


@pytest.mark.parametrize("text", ["", "nonsense: 1\n", "concepts: [\n", "- a\n"])
def test_a_list_that_cannot_be_read_is_not_touched(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.vars.yaml").write_text(text)
    with pytest.raises(ConceptryError, match=r"dvc\.vars\.yaml"):
        add_to_pipeline(tmp_path, "cat")
    assert (tmp_path / "dvc.vars.yaml").read_text() == text


def test_the_lists_concepts_exist(repo_root: Path) -> None:
    names = yaml.safe_load((repo_root / "dvc.vars.yaml").read_text())["concepts"]
    assert [name for name in names if not (repo_root / "concepts" / name / "concept.yaml").is_file()] == []
