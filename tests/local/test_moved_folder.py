"""A set-up's folder that was moved: paths inside it, and the id by which the installation knows what it made."""

from dataclasses import replace
from pathlib import Path

import pytest

from conceptry.moved_path import moved_path
from conceptry.work_folder import WorkFolder
from local.current_setup import open_installation
from local.demo.user import User, draw_images
from local.moved_folder import carry_over
from local.post_receive_hook import HOOK, install
from local.setup_folder import Folder, Setup
from tasks.dvc.desired_images import list_desired_images
from tasks.dvc.moved_remote import note_move, path_today
from tasks.git.desired_concepts import read_desired


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A set-up with its origin inside."""
    made = Folder.at(tmp_path / "demo")
    (made.root / "origin.git").mkdir(parents=True)
    made.write(Setup(repo=str(made.root / "origin.git")))
    return made


def test_a_moved_set_up_has_its_repository_and_its_id(folder: Folder) -> None:
    before = folder.read()
    moved = Folder.at(folder.root.rename(folder.root.with_name("demo2")))
    after = moved.read()
    assert after.repo == str(moved.root / "origin.git")
    assert after.identity == before.identity
    moved.write(after)
    assert moved.read().identity == before.identity


def test_another_port_of_the_hub_keeps_the_id(folder: Folder) -> None:
    before = folder.read()
    folder.write(replace(before, hub_port=before.hub_port + 1))
    after = folder.read()
    assert after.identity == before.identity
    assert after.settings(folder)["installation"] == before.identity


def test_a_set_up_of_an_earlier_release_keeps_the_id_that_it_had(folder: Folder) -> None:
    identity = folder.read().identity
    lines = folder.file.read_text().splitlines()
    folder.file.write_text("\n".join(line for line in lines if not line.startswith(("root", "installation", "named"))))
    before = folder.read()
    folder.write(replace(before, hub_port=before.hub_port + 1))
    assert folder.read().identity == identity


def test_another_repository_is_another_installation(folder: Folder) -> None:
    before = folder.read()
    folder.file.write_text(folder.file.read_text().replace("origin.git", "other.git", 1))
    assert folder.read().identity != before.identity


def test_paths_of_a_folder_that_was_moved(tmp_path: Path) -> None:
    new = tmp_path / "b" / "library" / ".conceptry"
    new.mkdir(parents=True)
    before = str(tmp_path / "a" / "library" / ".conceptry")
    assert moved_path(str(tmp_path / "a" / "library"), before, new) == str(tmp_path / "b" / "library")
    same = [str(tmp_path), "https://example.org/x.git", "origin.git", str(tmp_path / "a" / "gone"), "/elsewhere"]
    assert [moved_path(path, before, new) for path in same] == same
    assert moved_path(str(tmp_path / "a" / "library"), "", new) == str(tmp_path / "a" / "library")


def test_a_folder_that_was_moved_twice(tmp_path: Path) -> None:
    work, third = WorkFolder(tmp_path / "three" / "work"), tmp_path / "three"
    (third / "remote").mkdir(parents=True)
    for before in ("one", "two", "two"):
        note_move(work, str(tmp_path / before), third)
    assert path_today(work, str(tmp_path / "one" / "remote")) == str(third / "remote")
    assert path_today(work, "gs://bucket/remote") == "gs://bucket/remote"


def test_git_dvc_and_hooks_work_after_a_move(tmp_path: Path) -> None:
    """As in the demo: origin, clone and DVC remote are all inside, under absolute paths."""
    old = tmp_path / "demo"
    old.mkdir()
    ada = User(old / "ada", tmp_path / "config", lambda _: None)
    ada.run("git", "init", "--quiet", "--bare", "--initial-branch=main", "origin.git", where=old)
    install(old / "origin.git", old)
    ada.run("git", "clone", "--quiet", "origin.git", "ada", where=old)
    ada.run("git", "checkout", "--quiet", "-B", "main")
    ada.run("dvc", "init", "--quiet")
    ada.run("dvc", "remote", "add", "--default", "storage", str(old / "dvc-remote"))
    draw_images(old / "pictures", "teal", "crescent", ["1", "2", "3"], seed=7)
    ada.run("conceptry", "new", "lamp", "--images", "../pictures", "--token", "<lamp>", "--init", "crescent")
    ada.run("dvc", "push")
    ada.run("git", "add", "--all")
    ada.run("git", "commit", "--quiet", "-m", "Add lamp")
    ada.run("git", "push", "--quiet", "--set-upstream", "origin", "main")
    Folder.at(old).write(Setup(repo=str(old / "origin.git")))

    folder = Folder.at(old.rename(tmp_path / "demo2"))
    carry_over(folder.root, folder.read().root, WorkFolder(folder.work))
    with open_installation(folder.root) as installation:
        desired = list_desired_images(installation, read_desired(installation))
    assert [image.relpath for image in desired.concepts["lamp"].images or ()] == ["1.png", "2.png", "3.png"]

    moved = User(folder.root / "ada", tmp_path / "config", lambda _: None)
    draw_images(moved.clone / "concepts/lamp/images", "teal", "crescent", ["4"], seed=8)
    moved.run("dvc", "add", "concepts/lamp/images")
    moved.run("dvc", "push")
    moved.commit_and_push("One more", "concepts/lamp/images.dvc")
    assert str(old) + "/" not in (folder.root / "origin.git" / HOOK).read_text() + "/"
    with open_installation(folder.root) as installation:
        desired = list_desired_images(installation, read_desired(installation))
    assert len(desired.concepts["lamp"].images or ()) == 4
