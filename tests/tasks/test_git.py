"""The mirror of the origin, and what is read from its objects."""

import gc
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conceptry.errors import SettingsError, SpecError, TransientError
from conceptry.settings import Settings
from flows.current_installation import build_installation
from tasks import git
from tasks.git.concept_history import edits
from tasks.git.desired_concepts import read_desired


def run(folder: Path, *arguments: str, given: bytes = b"") -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, input=given)
    return done.stdout.decode().strip()


def commit(clone: Path, message: str) -> str:
    run(clone, "add", "--all")
    run(clone, "commit", "--quiet", "--allow-empty", "-m", message)
    return run(clone, "rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    run(tmp_path, "init", "--quiet", "--bare", "origin.git")
    return tmp_path / "origin.git"


@pytest.fixture
def clone(tmp_path: Path, origin: Path) -> Path:
    run(tmp_path, "clone", "--quiet", str(origin), "clone")
    return tmp_path / "clone"


def push(clone: Path, *flags: str) -> None:
    run(clone, "push", "--quiet", *flags, "origin", "HEAD")


def test_a_mirror_follows_the_origin(tmp_path: Path, origin: Path, clone: Path) -> None:
    first = commit(clone, "first")
    push(clone)
    mirror = git.mirror(str(origin), tmp_path / "deep" / "mirror")
    assert git.head(mirror, "main") == first

    (clone / "concepts.yaml").touch()
    second = commit(clone, "second")
    push(clone)
    assert git.head(git.mirror(str(origin), mirror), "main") == second
    assert not list(mirror.rglob("*.yaml")), "nothing is checked out"


def test_a_rewritten_branch_and_a_removed_one_are_followed(tmp_path: Path, origin: Path, clone: Path) -> None:
    commit(clone, "first")
    push(clone)
    run(clone, "push", "--quiet", "origin", "HEAD:refs/heads/topic")
    mirror = git.mirror(str(origin), tmp_path / "mirror")
    git.head(mirror, "topic")

    run(clone, "commit", "--quiet", "--amend", "--allow-empty", "-m", "rewritten")
    push(clone, "--force")
    run(clone, "push", "--quiet", "origin", ":topic")
    git.mirror(str(origin), mirror)

    assert git.head(mirror, "main") == run(clone, "rev-parse", "HEAD")
    with pytest.raises(SettingsError, match=r"no branch 'topic'; its branches: main"):
        git.head(mirror, "topic")


def test_concepts_are_read_at_a_revision(tmp_path: Path, origin: Path, clone: Path) -> None:
    for name, texts in {
        "dog": ("spec of dog", "images of dog"),
        "cat": ("spec of cat", None),
        "ant": (None, "x"),
    }.items():
        for file, text in zip(("concept.yaml", "images.dvc"), texts, strict=True):
            if text is not None:
                (clone / "concepts" / name).mkdir(parents=True, exist_ok=True)
                (clone / "concepts" / name / file).write_text(text)
    (clone / "concepts" / "concept.schema.json").write_text("{}")
    old = commit(clone, "three concepts")
    (clone / "concepts" / "cat" / "concept.yaml").write_bytes(b"\xff\xfe")
    new = commit(clone, "not UTF-8")
    push(clone)
    mirror = git.mirror(str(origin), tmp_path / "mirror")

    concepts = git.read_concepts(git.Mirror(mirror), old)
    assert [(each.name, each.spec_text, each.images_dvc) for each in concepts] == [
        ("ant", None, "x"),
        ("cat", "spec of cat", None),
        ("dog", "spec of dog", "images of dog"),
    ]
    changed = {each.name: each.spec_text for each in git.read_concepts(git.Mirror(mirror), new)}
    assert changed["cat"] is not None
    assert changed["cat"] != "spec of cat"
    assert git.read_file(git.Mirror(mirror), old, "concepts/dog/images.dvc") == b"images of dog"
    with pytest.raises(SpecError, match="is a folder"):
        git.read_file(git.Mirror(mirror), old, "concepts/dog")
    assert git.read_file(git.Mirror(mirror), old, "no/such/file") is None


def test_a_repository_without_concepts_has_none(tmp_path: Path, origin: Path, clone: Path) -> None:
    (clone / "README").write_text("hello")
    revision = commit(clone, "readme")
    push(clone)
    assert git.read_concepts(git.Mirror(git.mirror(str(origin), tmp_path / "mirror")), revision) == []


def test_an_unknown_revision_is_named(tmp_path: Path, origin: Path, clone: Path) -> None:
    commit(clone, "first")
    push(clone)
    mirror = git.mirror(str(origin), tmp_path / "mirror")
    with pytest.raises(SettingsError, match="f" * 40):
        git.read_concepts(git.Mirror(mirror), "f" * 40)


def test_an_empty_origin_has_no_branch(tmp_path: Path, origin: Path) -> None:
    with pytest.raises(SettingsError, match="the repository is empty"):
        git.head(git.mirror(str(origin), tmp_path / "mirror"), "main")


@pytest.mark.parametrize("url", ["", "no/such/folder", "--upload-pack=touch pwned"])
def test_what_is_no_repository_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="CONCEPTRY_REPO"):
        git.mirror(url, tmp_path / "mirror")


def test_an_origin_that_cannot_be_reached_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="fetch") as caught:
        git.mirror("http://user:t0ken@127.0.0.1:9/x.git", tmp_path / "mirror")
    assert caught.value.retryable
    assert "t0ken" not in str(caught.value)


def test_what_a_killed_fetch_leaves_behind_is_mended(tmp_path: Path, origin: Path, clone: Path) -> None:
    commit(clone, "first")
    push(clone)
    mirror = git.mirror(str(origin), tmp_path / "mirror")
    (mirror / "refs/heads/main.lock").touch()
    second = commit(clone, "second")
    push(clone)

    assert git.head(git.mirror(str(origin), mirror), "main") == second


def damage_head(mirror: Path) -> None:
    (mirror / "HEAD").unlink()


def damage_config(mirror: Path) -> None:
    (mirror / "config").write_bytes(b"")


def damage_ref(mirror: Path) -> None:
    path = mirror / "refs/heads/main"
    path.write_bytes(path.read_bytes()[:7])


def damage_leave_locks(mirror: Path) -> None:
    for name in ("HEAD.lock", "packed-refs.lock", "config.lock", "refs/heads/main.lock", "shallow.lock"):
        (mirror / name).touch()


def damage_lose_objects(mirror: Path) -> None:
    for path in (mirror / "objects").rglob("*"):
        if path.is_file():
            path.unlink()


def damage_cut_pack(mirror: Path) -> None:
    for path in (mirror / "objects").rglob("*"):
        if path.is_file() and path.suffix not in (".idx", ".rev"):
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_overwrite_pack(mirror: Path) -> None:
    for path in (mirror / "objects").rglob("*.pack"):
        path.chmod(0o644)
        content = path.read_bytes()
        path.write_bytes(content[:12] + bytes(len(content) - 32) + content[-20:])


@pytest.mark.parametrize(
    "damage",
    [
        damage_head, damage_config, damage_ref, damage_leave_locks, damage_lose_objects, damage_cut_pack,
        damage_overwrite_pack,
    ],
)  # fmt: skip
@pytest.mark.parametrize("moved", [False, True], ids=["same", "moved"])
def test_a_damaged_mirror_is_cloned_anew(
    tmp_path: Path, origin: Path, clone: Path, damage: Callable[[Path], None], moved: bool
) -> None:
    (clone / "concepts" / "cat").mkdir(parents=True)
    (clone / "concepts" / "cat" / "concept.yaml").write_text("spec of cat")
    expected = commit(clone, "first")
    push(clone)
    installation = build_installation(Settings(repo=str(origin), hub_owner="x", work=tmp_path / "work"))
    assert read_desired(installation).revision == expected
    damage(installation.work.mirror)
    if moved:
        expected = commit(clone, "second")
        push(clone)

    found = read_desired(installation)

    assert found.revision == expected
    assert list(found.concepts) == ["cat"]
    left = {path.name for path in (tmp_path / "work").iterdir()}
    assert left == {"mirror.git", "mirror.git.lock"}


def test_a_concept_whose_files_are_lost_is_not_taken_for_removed(tmp_path: Path, origin: Path, clone: Path) -> None:
    (clone / "concepts" / "cat").mkdir(parents=True)
    (clone / "concepts" / "cat" / "concept.yaml").write_text("spec of cat")
    revision = commit(clone, "first")
    push(clone)
    for lost in ("concepts", "concepts/cat", "concepts/cat/concept.yaml"):
        mirror = git.mirror(str(origin), tmp_path / "mirror")
        for pack in (mirror / "objects" / "pack").glob("*.pack"):
            # Loose objects, of which one is deleted.
            moved = pack.rename(tmp_path / "moved.pack")
            run(mirror, "unpack-objects", "-q", given=moved.read_bytes())
        name = run(clone, "rev-parse", f"{revision}:{lost}")
        (mirror / "objects" / name[:2] / name[2:]).unlink()
        gc.collect()  # libgit2 keeps the pack that was moved in memory

        with pytest.raises(TransientError, match="damaged"):
            git.read_concepts(git.Mirror(mirror), revision)
        mirror = git.mirror(str(origin), mirror)
        assert [concept.name for concept in git.read_concepts(git.Mirror(mirror), revision)] == ["cat"]


def test_a_failed_second_clone_keeps_the_first(tmp_path: Path, origin: Path, clone: Path) -> None:
    revision = commit(clone, "first")
    push(clone)
    mirror = git.mirror(str(origin), tmp_path / "mirror")
    (origin / "HEAD").rename(origin / "HEAD.away")

    with pytest.raises(TransientError):
        git.mirror(str(origin), mirror)

    assert git.head(mirror, "main") == revision
    assert not list(tmp_path.glob(".mirror*"))


def test_processes_that_fetch_at_once_wait_for_each_other(
    tmp_path: Path, origin: Path, clone: Path, repo_root: Path
) -> None:
    revision = commit(clone, "first")
    push(clone)
    mirror = tmp_path / "mirror"
    program = "import sys; from pathlib import Path; from tasks import git; git.mirror(sys.argv[1], Path(sys.argv[2]))"
    command = [sys.executable, "-c", program, str(origin), str(mirror)]
    children = [subprocess.Popen(command, cwd=repo_root) for _ in range(3)]

    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert git.head(mirror, "main") == revision


def test_a_thousand_concepts_are_read_in_one_pass(tmp_path: Path, origin: Path, clone: Path) -> None:
    for number in range(1000):
        folder = clone / "concepts" / f"c{number:03}"
        folder.mkdir(parents=True)
        (folder / "concept.yaml").write_text(f"placeholder_token: <c{number}>\n")
        (folder / "images.dvc").write_text(f"outs:\n- md5: {number:032x}.dir\n")
    revision = commit(clone, "many")
    push(clone)
    mirror = git.mirror(str(origin), tmp_path / "mirror")

    started = time.process_time()
    concepts = git.read_concepts(git.Mirror(mirror), revision)

    assert len(concepts) == 1000
    assert time.process_time() - started < 0.5


def test_a_shallow_clone_as_ci_services_make_it_is_an_origin(tmp_path: Path, origin: Path, clone: Path) -> None:
    for title in ("first", "second", "third"):
        (clone / "concepts" / "cat").mkdir(parents=True, exist_ok=True)
        (clone / "concepts" / "cat" / "concept.yaml").write_text(f"title: {title}")
        commit(clone, title)
    push(clone)
    shallow, mirror = tmp_path / "shallow", tmp_path / "mirror.git"
    run(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{origin}", str(shallow))
    git.mirror(str(shallow), mirror)
    head = git.head(mirror, "main")
    assert [source.spec_text for source in git.read_concepts(git.Mirror(mirror), head)] == ["title: third"]
    assert [edit.summary for edit in edits(git.Mirror(mirror), head, "cat")] == ["third"], "its history ends there"

    run(shallow, "fetch", "--quiet", "--unshallow")
    git.mirror(str(shallow), mirror)
    (shallow / "concepts" / "cat" / "concept.yaml").write_text("title: fourth")
    commit(shallow, "fourth")
    git.mirror(str(shallow), mirror)
    head = git.head(mirror, "main")
    assert [edit.summary for edit in edits(git.Mirror(mirror), head, "cat")][:2] == ["fourth", "third"]
