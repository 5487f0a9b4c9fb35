"""Two installations under one account do not touch each other's repos, nor anybody else's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from cli.adopt import command as adopt
from cli.delete import delete_concept
from cli.gc import judge
from conceptry.errors import ConceptryError, HubError
from flows.train_concept import train_concept
from flows.watch import watch
from tests.support.registry_world import World, run
from tests.support.registry_world import training_runs as runs_of

SERVES = "serves v1"


@pytest.fixture
def other(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A second installation: another git repository, the same account, Hub and Prefect server."""
    root = world.root / "other"
    root.mkdir()
    other = World(root, world.hub, world.prefect)
    other.start()
    with using(other, monkeypatch):
        yield other


@contextmanager
def using(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process be of an installation for a while."""
    with monkeypatch.context() as environment:
        for name, value in world.variables().items():
            environment.setenv(name, value)
        yield


def state_of(api: HfApi, name: str) -> list[object]:
    """Everything of a repo and its Space that a stranger could have changed."""
    found: list[object] = []
    for kind in ("model", "space"):
        info = api.repo_info(f"local/{name}", repo_type=kind)
        refs = api.list_repo_refs(f"local/{name}", repo_type=kind)
        runtime = getattr(info, "runtime", None)
        found += [
            info.sha,
            info.private,
            sorted(r.ref for r in (*refs.branches, *refs.tags)),
            runtime and runtime.stage,
        ]
    return found


@pytest.fixture
def theirs(world: World) -> list[object]:
    """A concept that the first installation serves, and the state of its repos."""
    world.write("shared-dog", seed=40_000)
    world.push()
    train_concept(**world.trained("shared-dog"))
    assert world.planned("shared-dog").sync == "Synced"
    return state_of(world.api(), "shared-dog")


def test_a_concept_of_another_installation_is_not_seen(theirs: list[object], other: World) -> None:
    other.push()
    watch()
    assert other.plan().concepts == ()
    assert judge(other.installation) == []
    with pytest.raises(ConceptryError, match="belongs to another installation"):
        delete_concept(other.installation, "shared-dog")
    assert state_of(other.api(), "shared-dog") == theirs


@pytest.mark.parametrize("release", ["latest", "none", "v1"])
def test_a_name_that_another_installation_holds_is_taken(theirs: list[object], other: World, release: str) -> None:
    other.write("shared-dog", seed=41_000, release=release, space={"private": True, "title": "Mine"})
    other.push()
    watch()
    one = other.planned("shared-dog")
    assert {action.reason for action in one.actions} == {"NameTaken"}
    assert "belongs to another installation of Conceptry (local-" in one.serving.cause
    assert "conceptry adopt shared-dog" in one.serving.cause
    with pytest.raises(HubError, match="belongs to another installation"):
        train_concept(**other.trained("shared-dog"))
    run(other.clone, "git", "rm", "-rq", "concepts/shared-dog")
    other.push()
    watch()
    assert state_of(other.api(), "shared-dog") == theirs
    assert runs_of(one.training.fingerprint or "no training") == []


@pytest.mark.parametrize("kind", ["model", "space"])
@pytest.mark.parametrize("files", [("README.md", "app.py", "weights.bin"), ("app.py",)], ids=["card", "no card"])
def test_a_repo_of_a_stranger_is_left_alone(world: World, kind: str, files: tuple[str, ...]) -> None:
    api = world.api()
    api.create_repo("local/their-dog", repo_type=kind, space_sdk="gradio" if kind == "space" else None)
    text = b"---\nlicense: mit\nsdk: gradio\n---\n# Mine\n"
    theirs = [CommitOperationAdd(path, text) for path in files]
    api.create_commit("local/their-dog", theirs, commit_message="mine", repo_type=kind)
    before = api.repo_info("local/their-dog", repo_type=kind).sha
    world.write("their-dog", seed=42_000, release="none", space={"private": True})
    world.push()
    watch()
    one = world.planned("their-dog")
    assert {action.reason for action in one.actions} == {"NameTaken"}
    with pytest.raises(HubError, match="was not made by Conceptry; choose another name"):
        train_concept(**world.trained("their-dog"))
    info = api.repo_info("local/their-dog", repo_type=kind)
    assert (info.sha, info.private) == (before, False)
    refs = api.list_repo_refs("local/their-dog", repo_type=kind)
    assert ([branch.name for branch in refs.branches], refs.tags) == (["main"], [])
    assert not api.repo_exists("local/their-dog", repo_type="space" if kind == "model" else "model")


def test_an_empty_repo_is_used(world: World) -> None:
    world.api().create_repo("local/new-dog")
    world.write("new-dog", seed=43_000)
    world.push()
    assert train_concept(**world.trained("new-dog")) == "v1"
    assert world.planned("new-dog").sync == "Synced"


def test_a_repo_is_taken_over_deliberately(theirs: list[object], world: World, other: World) -> None:
    del theirs
    other.write("shared-dog", seed=40_000)
    other.push()
    with pytest.raises(ConceptryError, match="confirm with --yes"):
        adopt(["shared-dog"])
    adopt(["shared-dog"], yes=True)
    for _ in range(2):
        watch()
    assert other.planned("shared-dog").sync == "Synced"
    assert [version.name for version in other.there("shared-dog").versions] == ["v1"]
    assert world.variables() != other.variables()


def test_the_first_installation_has_lost_what_another_one_took_over(
    theirs: list[object], world: World, other: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    del theirs
    other.push()
    adopt(["shared-dog"], yes=True)
    with using(world, monkeypatch):
        assert world.planned("shared-dog").serving.reason == "NameTaken"


def test_owners_compare_without_case(theirs: list[object], world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCEPTRY_HUB_OWNER", "Local")
    watch()
    assert world.planned("shared-dog").sync == "Synced"
    assert state_of(world.api(), "shared-dog") == theirs


def test_repos_of_an_older_release_are_signed_by_the_installation_that_has_the_concept(world: World) -> None:
    world.write("old-dog", seed=44_000)
    world.push()
    train_concept(**world.trained("old-dog"))
    api = world.api()
    for kind in ("model", "space"):
        file = Path(api.hf_hub_download("local/old-dog", "README.md", repo_type=kind, local_dir=world.root / kind))
        whole = file.read_text().splitlines(keepends=True)
        lines = [line for line in whole if "installation:" not in line and "seal:" not in line]
        api.upload_file(path_or_fileobj="".join(lines).encode(), path_in_repo="README.md", repo_id="local/old-dog",
                        repo_type=kind)  # fmt: skip
    assert world.planned("old-dog").serving.kind == "repair"
    for _ in range(2):
        watch()
    assert world.planned("old-dog").sync == "Synced"
    run(world.clone, "git", "rm", "-rq", "concepts/old-dog")
    world.push()
    assert world.planned("old-dog").serving.reason == "RemovedFromGit"
