"""Images as other versions of DVC, other remotes, imports and pipelines leave them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cli.checkout_files import read_checkout
from conceptry.errors import SettingsError
from tasks import dvc, git
from tasks.git.checkout import clone_of, dvc_root, find_top, path_of
from tests.support.dvc_world import CONFIG, PICTURES, World, md5, refs


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.start()
    return world


def test_what_dvc_2_pushed_is_found_beside_what_dvc_3_pushes(world: World) -> None:
    """DVC 2 has no files/md5 in the path, and takes the md5 of a text with Unix line ends."""
    caption = b"a photo\r\nof a cat\r\n"
    files = {"0.jpg": b"new", "1.jpg": b"old"}
    entries = [{"md5": md5(data), "relpath": path} for path, data in files.items()]
    entries.append({"md5": md5(caption.replace(b"\r\n", b"\n")), "relpath": "1.txt"})
    listing = json.dumps(entries).encode()
    world.configure(CONFIG.format(url=world.remote))
    oid = world.add("cat", {"0.jpg": b"new"}, listing)
    for key, data in ((entries[1]["md5"], b"old"), (entries[2]["md5"], caption), (oid, listing)):
        place = world.remote / key[:2] / key[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    world.object(oid).unlink()
    outs = [{"md5": oid, "size": 1, "nfiles": 3, "path": "images"}]
    (world.clone / "concepts" / "cat" / "images.dvc").write_text(yaml.safe_dump({"outs": outs}))

    concept = world.list(world.commit(), check=("cat",))["cat"]
    assert (concept.error, concept.missing) == (None, ())
    assert world.fetch(oid, concept.images) == files | {"1.txt": caption}


def test_an_output_may_name_its_remote(world: World) -> None:
    config = CONFIG.format(url=world.root / "empty") + f"['remote \"others\"']\n    url = {world.remote}\n"
    world.configure(config)
    oid = world.add("cat", PICTURES)
    images_dvc = world.clone / "concepts" / "cat" / "images.dvc"
    document = yaml.safe_load(images_dvc.read_text())
    document["outs"][0]["remote"] = "others"
    images_dvc.write_text(yaml.safe_dump(document))
    world.add("dog", {})
    concepts = world.list(world.commit(), check=("cat", "dog"))
    assert (concepts["cat"].images, concepts["cat"].missing) == (refs(PICTURES), ())
    assert concepts["dog"].images is None, "it is in the default remote, which is empty"
    folder = dvc.fetch_images(
        world.mirror, "main", oid, None, destination=world.root / "run" / "images", remote_name="others"
    )
    assert {path.name for path in folder.iterdir()} == {Path(name).parts[0] for name in PICTURES}


def test_imported_images_that_are_nowhere_get_advice_that_helps(world: World) -> None:
    world.configure(CONFIG.format(url=world.remote))
    oid = world.add("cat", PICTURES)
    world.object(oid).unlink()
    images_dvc = world.clone / "concepts" / "cat" / "images.dvc"
    repo = {"url": "https://ann:secret@git.example.org/registry.git", "rev_lock": "0" * 40}
    document = yaml.safe_load(images_dvc.read_text()) | {"deps": [{"path": "cats", "repo": repo}], "frozen": True}
    images_dvc.write_text(yaml.safe_dump(document))
    concept = world.list(world.commit())["cat"]
    _, words = concept.missing_images() or ("", "")
    assert "imported from https://git.example.org/registry.git" in words
    assert "dvc add concepts/cat/images" in words
    assert "secret" not in words


@pytest.mark.parametrize("place", ["", "concepts/", "concepts/cat/"])
def test_images_may_be_the_output_of_a_stage(world: World, place: str) -> None:
    world.configure(CONFIG.format(url=world.remote))
    oid = world.add("cat", PICTURES)
    (world.clone / "concepts" / "cat" / "images.dvc").unlink()
    path = "concepts/cat/images".removeprefix(place)
    stage = {"cmd": "crop", "outs": [{"path": "other"}, {"path": path, "hash": "md5", "md5": oid, "size": 1}]}
    lock = {"schema": "2.0", "stages": {"fetch": {"cmd": "fetch"}, "crop@cat": stage}}
    (world.clone / place / "dvc.lock").write_text(yaml.safe_dump(lock))
    concept = world.list(world.commit(), check=("cat",))["cat"]
    assert (concept.error, concept.images, concept.missing) == (None, refs(PICTURES), ())
    assert concept == replace(read_checkout(world.clone).concepts["cat"], images=concept.images)


def test_a_lock_that_cannot_be_read_holds_the_concept(world: World) -> None:
    world.configure(CONFIG.format(url=world.remote))
    world.add("cat", PICTURES)
    (world.clone / "concepts" / "cat" / "images.dvc").unlink()
    (world.clone / "dvc.lock").write_text("stages: {images: [\n")
    error = world.list(world.commit())["cat"].error
    assert "has no images.dvc, and a lock cannot be read: dvc.lock" in str(error)
    assert str(read_checkout(world.clone).concepts["cat"].error) == str(error)


def test_the_registry_may_be_a_folder_of_a_larger_repository(tmp_path: Path) -> None:
    world = World(tmp_path, path="ml/library")
    world.start()
    oid = world.add("cat", PICTURES)
    (world.clone / "concepts" / "of-another-kind").mkdir(parents=True)
    (world.clone / "concepts" / "of-another-kind" / "concept.yaml").write_text("not ours")
    world.commit()
    assert list(world.list("main")) == ["cat"]
    assert world.list("main", check=("cat",))["cat"].missing_images() is None
    assert world.fetch(oid).keys() == PICTURES.keys()
    assert git.read_file(world.mirror, "main", "concepts/cat/concept.yaml") is not None
    assert [edit.source.name for edit in git.edits(world.mirror, "main", "cat") if edit.source] == ["cat"]
    with pytest.raises(SettingsError, match=r"no folder 'ml/other'.*CONCEPTRY_PATH"):
        git.read_concepts(git.Mirror(world.mirror.folder, "ml/other"), "main")

    top = find_top(world.clone / "ml" / "library" / "concepts" / "cat")
    assert (top, path_of(top)) == (world.clone / "ml" / "library", "ml/library")
    assert list(read_checkout(top).concepts) == ["cat"]
    listed = dvc.list_images(clone_of(top), "HEAD", read_checkout(top).concepts, tmp_path / "kept")
    assert listed["cat"].images == refs(PICTURES)


def test_dvc_may_be_initialised_above_the_registry(tmp_path: Path) -> None:
    world = World(tmp_path, path="ml")
    world.start()
    world.add("cat", PICTURES)
    (world.clone / "ml" / ".dvc").rename(world.clone / ".dvc")
    assert world.list(world.commit())["cat"].images == refs(PICTURES)
    top = find_top(world.clone / "ml")
    assert (path_of(top), dvc_root(top)) == ("ml", world.clone)


def test_a_remote_whose_plug_in_is_missing_names_it(world: World) -> None:
    world.configure(CONFIG.format(url="s3://bucket/pictures"))
    world.add("cat", PICTURES)
    revision = world.commit()
    with pytest.raises(SettingsError, match="needs dvc-s3, which is not installed; run "):
        world.list(revision)


def test_a_cloud_versioned_folder_is_said_to_be_one(world: World) -> None:
    world.add("cat", PICTURES)
    files = [{"relpath": "a.jpg", "md5": md5(b"a"), "size": 1, "cloud": {"storage": {"version_id": "1"}}}]
    document = {"outs": [{"path": "images", "hash": "md5", "files": files}]}
    (world.clone / "concepts" / "cat" / "images.dvc").write_text(yaml.safe_dump(document))
    assert "is from a cloud-versioned remote" in str(world.list(world.commit())["cat"].error)


@pytest.mark.parametrize("path", ["", "ml"])
def test_a_remote_may_be_a_folder_of_the_repository(tmp_path: Path, path: str) -> None:
    world = World(tmp_path, path=path)
    world.start()
    world.configure(CONFIG.format(url="remote"))
    oid = world.add("cat", PICTURES)
    with pytest.raises(SettingsError, match=r"relative path as its url, and the repository no folder \S*\.dvc/remote;"):
        world.list(world.commit())
    world.remote.rename(world.clone / path / ".dvc" / "remote")
    world.commit()
    assert world.list("main", check=("cat",))["cat"].missing == ()
    assert world.fetch(oid).keys() == PICTURES.keys()
    (world.clone / path / ".dvc" / "remote" / "files" / "md5" / md5(PICTURES["a.jpg"])[:2]).rename(world.root / "lost")
    world.commit()
    assert [ref.relpath for ref in world.list("main", check=("cat",))["cat"].missing] == ["a.jpg"]
