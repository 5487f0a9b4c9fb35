"""`conceptry rollback`: git says an older version, and later ones do not undo it."""

from itertools import count
from pathlib import Path

import pytest

import cli.rollback
from conceptry.errors import ConceptryError, SettingsError
from flows.train_concept import train_concept
from flows.watch import watch
from tests.support.registry_world import World, run

SEEDS = count(88000, 100)


@pytest.fixture
def two(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A person in a clone of a concept with two versions; the second one is served."""
    seed = next(SEEDS)
    for number in (0, 1):
        world.write("back-dog", seed=seed + number)
        world.push(f"Version {number + 1}")
        train_concept(**world.trained("back-dog", loss=0.05 - number / 100))
    monkeypatch.chdir(world.clone)
    return world


def served(world: World) -> str | None:
    space = world.there("back-dog").space
    return space.release if space else None


def git(world: World, *arguments: str) -> str:
    return run(world.clone, "git", *arguments)


def spec_file(world: World) -> Path:
    return world.clone / "concepts" / "back-dog" / "concept.yaml"


def test_the_version_before_is_served_and_stays(two: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert served(two) == "v2"
    before = spec_file(two).read_text()
    cli.rollback.command("back-dog", yes=True)
    said = capsys.readouterr().out
    assert "v2 -> v1" in said
    assert "git push" in said
    assert git(two, "log", "-1", "--format=%s").strip() == "Roll back back-dog to v1"
    assert [line for line in spec_file(two).read_text().splitlines() if line not in before.splitlines()] == [
        "release: v1"
    ]
    watch()
    assert served(two) == "v2", "nothing changes before the push"
    git(two, "push", "--quiet")
    watch()
    assert served(two) == "v1"

    with pytest.raises(ConceptryError, match="already says `release: v1`"):
        cli.rollback.command("back-dog", "v1", yes=True)
    two.write("back-dog", seed=next(SEEDS), release="v1")
    two.push("Other pictures")
    train_concept(**two.trained("back-dog", loss=0.01))
    watch()
    assert (served(two), len(two.there("back-dog").versions)) == ("v1", 3)


def test_a_branch_for_a_review_leaves_the_clone_as_it_is(two: World) -> None:
    (two.clone / "notes.txt").write_text("not committed")
    head = git(two, "rev-parse", "HEAD")
    cli.rollback.command("back-dog", "v1", pr=True, yes=True)
    assert git(two, "rev-parse", "HEAD") == head
    branch = "rollback-back-dog-v1"
    assert git(two, "diff", "--name-only", "HEAD", branch).split() == ["concepts/back-dog/concept.yaml"]
    assert len(git(two, "worktree", "list").splitlines()) == 1
    with pytest.raises(SettingsError, match="already exists"):
        cli.rollback.command("back-dog", "v1", pr=True, yes=True)


def test_nothing_is_committed_that_would_not_do_it(two: World) -> None:
    head = git(two, "rev-parse", "HEAD")
    with pytest.raises(ConceptryError, match=r"no version v7.*\n?.*v1, v2"):
        cli.rollback.command("back-dog", "v7", yes=True)
    with pytest.raises(ConceptryError, match="confirm with --yes"):
        cli.rollback.command("back-dog", "v1")
    before = spec_file(two).read_text()
    spec_file(two).write_text(before + "# a note\n")
    with pytest.raises(SettingsError, match="not committed"):
        cli.rollback.command("back-dog", "v1", yes=True)
    git(two, "commit", "--quiet", "-am", "A note")
    with pytest.raises(SettingsError, match="another one than that of main"):
        cli.rollback.command("back-dog", "v1", yes=True)
    git(two, "switch", "--quiet", "--create", "mine", "HEAD~1")
    with pytest.raises(SettingsError, match="is on mine"):
        cli.rollback.command("back-dog", "v1", yes=True)
    git(two, "switch", "--quiet", "main")
    git(two, "reset", "--quiet", "--hard", "HEAD~1")
    hook = two.clone / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no today >&2\nexit 1\n")
    hook.chmod(0o755)
    for pr in (False, True):
        with pytest.raises(SettingsError, match="no today"):
            cli.rollback.command("back-dog", "v1", pr=pr, yes=True)
    assert git(two, "rev-parse", "HEAD") == head
    assert spec_file(two).read_text() == before
    assert git(two, "branch", "--list", "rollback-*") == ""
