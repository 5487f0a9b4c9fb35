"""A whole folder of learned concepts, as people have the sd-concepts-library, becomes concepts of a registry."""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from cli.embeds_import import Wanted
from cli.library_import import concept_name, find_concepts, import_library
from conceptry.concept import load_spec
from tests.support.registry_world import World

CODE = Path(__file__).parents[2]


class Harmful:
    """What runs a program when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch pwned",)


def add(library: Path, folder: str, token: str, *, width: int = 96, value: float = 0.01) -> Path:
    """Write a folder as a repo of the library has it."""
    made = library / folder
    (made / "concept_images").mkdir(parents=True)
    save_file({token: np.full((1, width), value, "float32")}, made / "learned_embeds.safetensors")
    (made / "token_identifier.txt").write_text(token)
    (made / "type_of_concept.txt").write_text("style")
    (made / "README.md").write_text("---\nlicense: mit\n---\n")
    Image.new("RGB", (64, 64), (len(folder), 90, 90)).save(made / "concept_images" / "0.jpeg")
    return made


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    add(folder, "Cat_Toy", "<cat-toy>")
    add(folder, "moebius", "<Moebius>")
    add(folder, "too-wide", "<too-wide>", width=100)
    harmful = add(folder, "harmful", "<harmful>")
    (harmful / "learned_embeds.safetensors").unlink()
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"<harmful>": Harmful()}, protocol=2))
    (harmful / "learned_embeds.bin").write_bytes(data.getvalue())
    (folder / ".git").mkdir()
    (folder / "README.md").write_text("all of them")
    return folder


def test_a_cache_of_huggingface_hub_holds_concepts_of_its_repos(tmp_path: Path) -> None:
    cache, old, new = tmp_path / "hub", "0" * 40, "1" * 40
    for repo in ("models--sd-concepts-library--cat-toy", "models--anna--Dog_2"):
        for commit in (old, new):
            add(cache / repo / "snapshots", commit, "<cat-toy>")
        (cache / repo / "refs").mkdir()
        (cache / repo / "blobs").mkdir()
    (cache / "models--sd-concepts-library--cat-toy" / "refs" / "main").write_text(old)
    (cache / "datasets--anna--pictures" / "snapshots" / old).mkdir(parents=True)
    found = find_concepts(cache)
    assert [concept_name(path) for path in found] == ["cat-toy", "dog-2"]
    assert found[0].name == old, "what main is"
    assert find_concepts(cache / "models--anna--Dog_2") == (found[1],)


def test_a_folder_of_concepts_is_imported_and_resumed(
    world: World, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "cli", "import", str(library), "--init", "circle"]
    environment = {**os.environ, **world.variables(), "PYTHONPATH": str(CODE)}
    done = subprocess.run(command, cwd=world.clone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert lines[:2] == ["[1/4] cat-toy: published v1 <cat-toy>", lines[1]]
    assert "[2/4] harmful: failed: " in lines[1]
    assert "system, which vectors do not need" in lines[1]
    assert lines[2] == "[3/4] moebius: published v1 <moebius>: the file says <Moebius>"
    assert "[4/4] too-wide: failed: " in lines[3]
    assert "100 wide: they fit no base model" in lines[3]
    assert "2 published, 2 failed." in done.stdout
    assert not list(world.root.rglob("pwned"))
    assert not (world.clone / "pwned").exists()
    folder = world.clone / "concepts" / "cat-toy"
    spec = load_spec((folder / "concept.yaml").read_text(), "concept.yaml")
    assert (spec.placeholder_token, spec.learnable_property, spec.base_model) == ("<cat-toy>", "style", "tiny")
    assert (folder / "images.dvc").is_file()
    assert not (world.clone / "concepts" / "too-wide").exists()
    assert world.branches("moebius") == ["main", "v1"]

    # What failed is put right, another folder comes, and one changes under a name that is taken.
    save_file({"<too-wide>": np.full((1, 96), 0.02, "float32")}, library / "too-wide" / "learned_embeds.safetensors")
    save_file({"<cat-toy>": np.full((1, 96), 0.03, "float32")}, library / "Cat_Toy" / "learned_embeds.safetensors")
    (library / "moebius").rename(library / "Cat_Toy_")
    add(library, "moebius", "<another>")
    add(library, "zebra", "<moebius>")
    failed = import_library(world.installation, world.clone, find_concepts(library), Wanted(init="circle"))
    said = capsys.readouterr().out
    assert failed == 5
    assert "cat-toy: failed: v1 was not made of" in said
    assert "another folder before" in said
    assert "moebius: failed: concepts/moebius is another concept: its token is <moebius>" in said
    assert "too-wide: published v1 <too-wide>" in said
    assert "zebra: failed: " in said
    assert "<moebius> is also the token of moebius" in said
    assert import_library(world.installation, world.clone, [library / "too-wide"], Wanted()) == 0
    assert "[1/1] too-wide: published before v1 <too-wide>" in capsys.readouterr().out


def test_a_hub_that_is_away_is_not_asked_for_every_concept(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        add(tmp_path / "library", f"concept-{number}", f"<away-{number}>")
    monkeypatch.setenv("CONCEPTRY_HUB_ENDPOINT", "http://127.0.0.1:9")
    assert import_library(world.installation, world.clone, find_concepts(tmp_path / "library"), Wanted()) == 5
    said = capsys.readouterr().out
    assert "[3/5] concept-2: failed" in said
    assert "[4/5] concept-3: not tried" in said
    assert "3 failed, 2 not tried." in said


def test_one_concept_needs_its_name_and_many_have_theirs(world: World, library: Path) -> None:
    environment = {**os.environ, **world.variables(), "PYTHONPATH": str(CODE), "COLUMNS": "300"}
    for arguments, words in (([library, "--name", "x"], "holds 4"), ([library / "moebius"], "--name")):
        command = [sys.executable, "-m", "cli", "import", *map(str, arguments)]
        done = subprocess.run(command, cwd=world.clone, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert words in done.stderr
