"""`conceptry new` on a real git repository with DVC."""

from __future__ import annotations

import io
import os
import pty
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console

from cli.new import NewConcept, add_concept, concept_yaml, print_commands
from conceptry.concept import ConceptSpec, load_spec
from conceptry.errors import ConceptryError, SpecError
from tasks.records.build_records import build_records

CAT = NewConcept("my-cat", Path("photos"), "<my-cat>", "cat")


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository after `git init` and `dvc init`, made once: importing DVC takes seconds."""
    clone = tmp_path_factory.mktemp("initialised") / "clone"
    subprocess.run(["git", "init", "-q", str(clone)], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=clone, check=True)
    return clone


@pytest.fixture
def clone(initialised: Path, tmp_path: Path) -> Path:
    """An empty clone, initialised for DVC, with a folder of two pictures, a caption and a stray file beside it."""
    clone = shutil.copytree(initialised, tmp_path / "clone")
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, colour in (("a.png", "red"), ("b.JPG", "blue")):
        Image.new("RGB", (64, 64), colour).save(photos / name)
    (photos / "a.txt").write_text("a red square")
    (photos / "notes.txt").write_text("not a caption")
    return clone


def _wanted(clone: Path, **changes: object) -> NewConcept:
    return NewConcept(**{**vars(CAT), "images": clone.parent / "photos", **changes})


def test_it_adds_what_git_and_dvc_then_track(clone: Path) -> None:
    below = clone / "concepts"
    below.mkdir()
    added = add_concept(below, _wanted(clone))
    folder = clone / "concepts" / "my-cat"
    assert (added.images, added.captions) == (2, 1)
    assert sorted(path.name for path in (folder / "images").iterdir()) == ["a.png", "a.txt", "b.JPG"]
    assert load_spec((folder / "concept.yaml").read_text(), "concept.yaml").placeholder_token == "<my-cat>"
    subprocess.run(["git", "add", *added.to_commit], cwd=clone, check=True)
    staged = subprocess.run(
        ["git", "diff", "--cached", "--name-only"], cwd=clone, check=True, capture_output=True, text=True
    )
    assert "concepts/my-cat/images.dvc" in staged.stdout
    assert not [line for line in staged.stdout.splitlines() if line.endswith((".png", ".JPG"))]


def test_a_folder_as_people_have_it(clone: Path) -> None:
    """Subfolders, endings that few know, none at all, captions of other trainers, and what devices leave."""
    photos = clone.parent / "photos"
    files = {"trip/c.jfif": "JPEG", "d": "PNG", "e.JPE": "JPEG", "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg": "JPEG"}
    for number, (name, kind) in enumerate(files.items()):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (number, 90, 90)).save(photos / name, kind)
    (photos / "trip" / "c.caption").write_text("a red square")
    (photos / "e.jpe.TXT").write_text("a red square")
    added = add_concept(clone, _wanted(clone))
    assert (added.images, added.captions) == (5, 3)
    [note] = added.notes
    assert note.endswith("notes.txt")
    images = clone / "concepts" / "my-cat" / "images"
    copied = {path.relative_to(images).as_posix() for path in images.rglob("*") if path.is_file()}
    assert copied == {"a.png", "a.txt", "b.JPG", "d", "e.JPE", "e.jpe.TXT", "trip/c.jfif", "trip/c.caption"}
    report = build_records(images, clone.parent / "records", 64)
    assert report.count == added.images, "the records count the same"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "My Cat"}, "cannot name a concept"),
        ({"placeholder_token": "my-cat"}, "angle brackets"),
        ({"initializer_token": "A Cat"}, "one lower-case word"),
        ({"base_model": "sdxl"}, "sd-v1-4"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    clone: Path, change: dict[str, str], says: str
) -> None:
    with pytest.raises(SpecError, match=says):
        add_concept(clone, _wanted(clone, **change))
    assert not (clone / "concepts").exists()


def test_a_token_belongs_to_one_concept(clone: Path) -> None:
    other = clone / "concepts" / "other"
    other.mkdir(parents=True)
    (other / "concept.yaml").write_text(concept_yaml(CAT, schema=False))
    with pytest.raises(SpecError, match="also the token of other"):
        add_concept(clone, _wanted(clone))


def test_a_folder_without_pictures_is_refused(clone: Path) -> None:
    (clone.parent / "empty").mkdir()
    with pytest.raises(ConceptryError, match="no image in"):
        add_concept(clone, _wanted(clone, images=clone.parent / "empty"))


def refuse(_: ConceptSpec, images: Path) -> tuple[str, ...]:
    assert sorted(path.name for path in images.iterdir()) == ["a.png", "a.txt", "b.JPG"]
    raise ConceptryError("tiny cannot draw these", concept="my-cat")


def test_images_that_are_refused_leave_nothing_behind(clone: Path) -> None:
    with pytest.raises(ConceptryError, match="cannot draw these"):
        add_concept(clone, _wanted(clone), refuse)
    assert not (clone / "concepts" / "my-cat").exists()
    assert (clone.parent / "photos" / "a.png").is_file()
    added = add_concept(clone, _wanted(clone), lambda _spec, _images: ("a.png: is small",))
    assert added.notes[0] == "a.png: is small"


@pytest.mark.parametrize(
    ("word", "code", "says"),
    [
        ("cat", 1, "'cat' is 3 tokens in tiny"),
        ("square", 0, "its version will be rejected: the base model tiny cannot draw pictures like these"),
    ],
)
def test_the_command_says_what_cannot_work(clone: Path, word: str, code: int, says: str) -> None:
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.JPG"):
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), "uint8")).resize((64, 64)).save(clone.parent / "photos" / name)
    command = [sys.executable, "-m", "cli", "new", "my-cat", "--images", "../photos", "--token", "<my-cat>"]
    command += ["--init", word]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == code
    assert says in " ".join((done.stdout + done.stderr).split())
    assert (clone / "concepts" / "my-cat").exists() == (code == 0), "another base model can be named afterwards"


def test_the_command_asks_for_the_base_model_on_a_terminal(clone: Path) -> None:
    terminal, stdin = pty.openpty()
    command = [sys.executable, "-m", "cli", "new", "my-cat", "--images", "../photos", "--token", "<my-cat>"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    os.write(terminal, b"sd-v1-4\n")
    try:
        done = subprocess.run(
            [*command, "--init", "cat"], cwd=clone, stdin=stdin, capture_output=True, text=True, check=True,
            env=environment,
        )  # fmt: skip
    finally:
        os.close(terminal)
        os.close(stdin)
    asked = " ".join(done.stdout.split())
    assert "tiny draws one plain coloured shape on a pale ground; it needs no download" in asked
    assert "sd-v1-4 draws photographs and paintings" in asked
    spec = load_spec((clone / "concepts" / "my-cat" / "concept.yaml").read_text(), "concept.yaml")
    assert spec.base_model == "sd-v1-4"


def test_a_mask_is_written_where_it_is_asked_for() -> None:
    plain, masked = (load_spec(concept_yaml(replace(CAT, mask=mask), schema=True), "x") for mask in (False, True))
    assert (plain.training.mask, masked.training.mask) == (None, "alpha")
    assert masked.model_copy(update={"training": plain.training}) == plain


def test_outside_of_a_repository_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConceptryError, match="in no git repository"):
        add_concept(tmp_path, CAT)


def test_a_failing_dvc_leaves_nothing_behind(clone: Path) -> None:
    (clone / ".dvc" / "config").write_text("[core\n")
    with pytest.raises(ConceptryError, match="dvc add"):
        add_concept(clone, _wanted(clone))
    assert not (clone / "concepts" / "my-cat").exists()


def test_the_commented_lines_are_the_defaults() -> None:
    """Taking every # away changes nothing, so each commented line shows a key that exists and its real default."""
    text = concept_yaml(CAT, schema=True)
    head, comments = text.split("remove its # to change it.\n")
    opened = head + "\n".join(line.removeprefix("# ") for line in comments.splitlines())
    assert len(yaml.safe_load(opened)) > len(yaml.safe_load(text))
    assert load_spec(opened, "concept.yaml") == load_spec(text, "concept.yaml")


def test_commands_to_paste_are_not_wrapped() -> None:
    console, script = Console(width=30, file=io.StringIO()), f"git add {'concepts/my-cat/concept.yaml ' * 3}x\ngit push"
    print_commands(console, script)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == f"{script}\n"
