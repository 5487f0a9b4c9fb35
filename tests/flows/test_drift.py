"""What people change on the Hub by hand is seen, named and put right, and trained again only when it is gone."""

import re
from itertools import count
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from cli.verify import verify
from conceptry.actions import Plan
from conceptry.errors import ConceptryError
from conceptry.markdown import dump_front_matter
from flows.apply_plan import apply
from flows.drift import find_drift
from flows.train_concept import job_at_head, train_concept
from flows.watch import watch
from tasks.git.desired_concepts import read_desired
from tasks.hub import RenderedSpace, list_live, push_space, update_main
from tasks.hub.repo_versions import tag_name
from tests.support.registry_world import World, run, set_state, training_runs
from trainer.recipe import RECIPE

SEEDS = count(1000, 100)
MINE = b"---\nlicense: mit\n---\n# My dog\n"


@pytest.fixture
def served(world: World) -> World:
    """A world with one concept that is published and served; no other test's server knows its pictures."""
    world.write("free-dog", seed=next(SEEDS))
    world.push()
    train_concept(**world.trained("free-dog"))
    assert world.action("free-dog").kind == "nothing"
    return world


def test_moved_and_deleted_refs_are_put_back(served: World) -> None:
    api, repo, version = served.api(), "local/free-dog", served.there("free-dog").versions[0]
    tag = tag_name(version.fingerprint)
    main = api.repo_info(repo).sha
    api.delete_branch(repo, branch="v1")
    assert served.action("free-dog").cause == "the branch v1 was deleted"
    api.create_branch(repo, branch="v1", revision=main)
    api.delete_tag(repo, tag=tag)
    action = served.planned("free-dog").serving
    assert (action.kind, action.version, action.health) == ("repair", "v1", "Degraded")
    assert action.cause == f"the branch v1 was moved from {version.commit[:8]} to {main[:8]}; the tag {tag} was deleted"
    watch()
    refs = api.list_repo_refs(repo)
    assert {branch.name: branch.target_commit for branch in refs.branches}["v1"] == version.commit
    assert {tag.name: tag.target_commit for tag in refs.tags} == {tag: version.commit}
    assert served.action("free-dog").kind == "nothing"
    assert training_runs(version.fingerprint) == []


def test_refs_of_a_concept_that_git_no_longer_has_are_put_back(served: World) -> None:
    api, repo, version = served.api(), "local/free-dog", served.there("free-dog").versions[0]
    run(served.clone, "git", "rm", "--quiet", "-r", "concepts/free-dog")
    served.push("Remove it")
    watch()
    api.delete_branch(repo, branch="v1")
    action = served.planned("free-dog").serving
    assert (action.kind, action.reason, action.cause) == ("repair", "Drifted", "the branch v1 was deleted")
    watch()
    assert {one.name: one.target_commit for one in api.list_repo_refs(repo).branches}["v1"] == version.commit
    assert served.planned("free-dog").serving.reason == "Archived"
    assert served.api().space_info(repo).runtime.stage == "PAUSED"


def test_a_moved_tag_and_a_deleted_space_are_put_back(served: World) -> None:
    api, repo, version = served.api(), "local/free-dog", served.there("free-dog").versions[0]
    tag = tag_name(version.fingerprint)
    api.delete_tag(repo, tag=tag)
    api.create_tag(repo, tag=tag, revision="main")
    api.create_tag(repo, tag="mine", revision="main")
    assert [str(drift.reason) for drift in served.action("free-dog").drift] == ["TagMoved"]
    watch()
    tags = {found.name: found.target_commit for found in api.list_repo_refs(repo).tags}
    assert (tags[tag], set(tags)) == (version.commit, {tag, "mine"})
    api.delete_repo(repo, repo_type="space")
    assert served.action("free-dog").reason == "SpaceMissing"
    watch()
    assert served.action("free-dog").kind == "nothing"
    assert training_runs(version.fingerprint) == []


def test_a_moved_branch_leaves_what_it_held(served: World) -> None:
    api, repo = served.api(), "local/free-dog"
    theirs = api.upload_file(path_or_fileobj=b"x", path_in_repo="mine.txt", repo_id=repo, revision="v1").oid
    watch()
    branches = {branch.name: branch.target_commit for branch in api.list_repo_refs(repo).branches}
    assert branches[f"rescued/v1-{theirs[:8]}"] == theirs
    assert branches["v1"] == served.there("free-dog").versions[0].commit
    assert served.action("free-dog").kind == "nothing"


def test_a_version_that_is_gone_for_good_is_trained_again(served: World) -> None:
    api, repo, version = served.api(), "local/free-dog", served.there("free-dog").versions[0]
    api.delete_branch(repo, branch="v1")
    api.delete_tag(repo, tag=tag_name(version.fingerprint))
    git = served.hub_repo("models", "free-dog")
    (git / "objects" / version.commit[:2] / version.commit[2:]).unlink()
    watch()
    action = served.action("free-dog")
    assert (action.kind, action.cause) == ("train", "first version")
    watch()
    assert len(training_runs(version.fingerprint)) == 1


def test_a_space_that_was_edited_is_rendered_again(served: World) -> None:
    api, repo = served.api(), "local/free-dog"
    before = set(api.list_repo_files(repo, repo_type="space"))
    api.upload_file(path_or_fileobj=b"print()", path_in_repo="app.py", repo_id=repo, repo_type="space")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="extra.txt", repo_id=repo, repo_type="space")
    assert served.action("free-dog").cause == "the Space was edited manually (app.py, extra.txt)"
    watch()
    assert set(api.list_repo_files(repo, repo_type="space")) == before
    assert served.action("free-dog").kind == "nothing"


def test_an_edited_readme_or_record_of_a_space_is_seen(served: World) -> None:
    api, repo = served.api(), "local/free-dog"
    readme = served.space_file("free-dog", "README.md")
    api.upload_file(path_or_fileobj=readme + b"\nmine\n", path_in_repo="README.md", repo_id=repo, repo_type="space")
    assert served.action("free-dog").cause == "the Space was edited manually (README.md)"
    api.upload_file(path_or_fileobj=readme, path_in_repo="README.md", repo_id=repo, repo_type="space")
    assert served.action("free-dog").kind == "nothing"
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="conceptry.json", repo_id=repo, repo_type="space")
    assert served.action("free-dog").cause == "the Space was edited manually (conceptry.json)"


def test_a_space_stays_in_sync_when_its_templates_are_refactored(served: World, tmp_path: Path) -> None:
    """As an earlier release would have pushed it: other modules of the same meaning, and a record of them."""
    folder, version = served.rendered("free-dog", tmp_path / "space"), served.there("free-dog").versions[0]
    (folder / "trainer" / "sampling" / "sampler.py").rename(folder / "trainer" / "older_sampling.py")
    (folder / "app.py").write_text("# worded differently\n")
    space = served.there("free-dog").space
    assert space is not None
    spec = job_at_head(served.installation, "free-dog").spec
    pushed = RenderedSpace(folder, "v1", version.commit, str(space.serving))
    push_space(served.session, "free-dog", pushed, spec, token=None)
    assert served.action("free-dog").kind == "nothing"
    api, repo = served.api(), "local/free-dog"
    api.delete_file("trainer/older_sampling.py", repo, repo_type="space")
    assert served.action("free-dog").cause == "the Space was edited manually (trainer/older_sampling.py)"


def test_a_space_without_a_record_is_compared_in_what_its_concept_decides(served: World) -> None:
    """As release 0.1 pushed it: no record, and modules that are not here any more."""
    api, repo = served.api(), "local/free-dog"
    api.create_commit(
        repo,
        [
            CommitOperationDelete("conceptry.json"),
            CommitOperationAdd(
                "README.md", re.sub(rb"\n +(files|installation): .*", b"", served.space_file("free-dog", "README.md"))
            ),
            CommitOperationAdd("trainer/models.py", b"# of release 0.1\n"),
            CommitOperationAdd("app.py", b"# of release 0.1\n"),
        ],
        repo_type="space",
        commit_message="Serve v1",
    )
    space = served.there("free-dog").space
    assert space is not None
    assert (space.files, space.release) == (None, "v1")
    assert served.action("free-dog").kind == "nothing"
    api.upload_file(path_or_fileobj=b"print()", path_in_repo="app.py", repo_id=repo, repo_type="space")
    assert served.action("free-dog").kind == "nothing", "an edit of a template that is not here cannot be told"
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="settings.json", repo_id=repo, repo_type="space")
    assert served.action("free-dog").cause == "the Space was edited manually (settings.json)"
    watch()
    space = served.there("free-dog").space
    assert space is not None
    assert space.files is not None, "and from then on it has a record"
    assert served.action("free-dog").kind == "nothing"


def test_main_follows_the_space(served: World) -> None:
    update_main(served.session, "free-dog", None)
    assert served.action("free-dog").cause == "the card on main describes no version instead of v1"
    watch()
    assert served.action("free-dog").kind == "nothing"


@pytest.mark.parametrize("release", ["latest", "none"])
def test_a_card_that_was_changed_is_put_back(served: World, release: str) -> None:
    """One change after the other; no version is trained again meanwhile, and none is lost."""
    api, repo = served.api(), "local/free-dog"
    if release == "none":
        file = served.clone / "concepts" / "free-dog" / "concept.yaml"
        file.write_text(file.read_text() + "release: none\n")
        served.push()
        watch()
        assert served.action("free-dog").kind == "nothing"
    before = served.there("free-dog")
    card = Path(api.hf_hub_download(repo, "README.md", local_dir=served.root / "card")).read_bytes()
    changes: dict[str, dict[str, bytes | None]] = {
        "deleted": {"README.md": None},
        "replaced": {"README.md": MINE},
        "text": {"README.md": card + b"\nMine.\n"},
        "index": {"README.md": card.replace(b"gate: passed", b"gate: rejected")},
    }
    if release == "latest":
        changes |= {"picture": {"samples/grid.png": b"mine"}, "picture deleted": {"samples/grid.png": None}}
    for change, files in changes.items():
        assert card not in files.values(), change
        for path, content in files.items():
            if content is None:
                api.delete_file(path, repo)
            else:
                api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo)
        action = served.action("free-dog")
        reason = "CardMissing" if change == "deleted" else "CardEdited"
        assert (action.kind, [str(drift.reason) for drift in action.drift]) == ("repair", [reason]), change
        watch()
        restored = Path(api.hf_hub_download(repo, "README.md", local_dir=served.root / "card")).read_bytes()
        assert restored == card, change
        assert served.there("free-dog").versions == before.versions, change
        assert served.action("free-dog").kind == "nothing", change
    assert verify(served.installation, ["free-dog"])
    assert training_runs(before.versions[0].fingerprint) == []


def test_branches_are_put_back_under_their_numbers_when_the_card_is_gone_as_well(served: World) -> None:
    api, repo, before = served.api(), "local/free-dog", served.there("free-dog")
    api.delete_file("README.md", repo)
    api.delete_branch(repo, branch="v1")
    watch()
    assert served.branches("free-dog") == ["main", "v1"]
    assert served.there("free-dog").versions == before.versions
    assert served.action("free-dog").kind == "nothing"


def test_a_deleted_branch_stays_listed_when_its_concept_is_archived_meanwhile(served: World) -> None:
    """Between the look of a watch and its writing a person deletes the branch and replaces the card."""
    api, repo, before = served.api(), "local/free-dog", served.there("free-dog").versions
    api.delete_branch(repo, branch="v1")
    api.upload_file(path_or_fileobj=MINE, path_in_repo="README.md", repo_id=repo)
    update_main(served.session, "free-dog", None)
    assert served.branches("free-dog") == ["main", "v1"]
    assert served.there("free-dog").versions == before


def test_a_branch_that_only_its_tag_shows_is_put_back(served: World) -> None:
    api, repo, before = served.api(), "local/free-dog", served.there("free-dog").versions
    run(served.clone, "git", "rm", "--quiet", "-r", "concepts/free-dog")
    served.push("Remove it")
    watch()
    # As an earlier release left it: the branch was gone while the index was written.
    for version in before:
        api.delete_branch(repo, branch=version.name)
    card = dump_front_matter({"conceptry": {"concept": "free-dog", "installation": served.installation.id}})
    api.upload_file(
        path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=repo, commit_message="Release nothing"
    )
    assert "the branch of fp-" in served.action("free-dog").cause
    watch()
    assert [version.commit for version in served.there("free-dog").versions] == [one.commit for one in before]
    assert served.action("free-dog").kind == "nothing"


def test_a_card_that_was_replaced_before_the_first_release_is_ours(served: World) -> None:
    """A person replaces the reserving card of a new repo, before any version of it is described."""
    session, api = served.session, served.api()
    session.create_repo("new-dog")
    api.upload_file(path_or_fileobj=MINE, path_in_repo="README.md", repo_id="local/new-dog")
    served.write("new-dog", seed=next(SEEDS))
    served.push()
    assert served.action("new-dog").kind == "train"
    train_concept(**served.trained("new-dog"))
    assert (served.action("new-dog").kind, served.there("new-dog").space is not None) == ("nothing", True)


def test_another_branch_of_a_space_or_a_model_is_not_main(served: World) -> None:
    api, repo = served.api(), "local/free-dog"
    before = served.there("free-dog")
    for kind in ("space", "model"):
        for name in ("dev", "x/main"):
            api.create_branch(repo, branch=name, repo_type=kind)
            api.upload_file(
                path_or_fileobj=b"---\nsdk: gradio\nconceptry: {release: v7}\n---\n", path_in_repo="README.md",
                repo_id=repo, repo_type=kind, revision=name,
            )  # fmt: skip
        api.create_tag(repo, tag="main", repo_type=kind, revision="dev")
    assert served.there("free-dog") == before
    assert served.action("free-dog").kind == "nothing"
    title_only(served)
    served.push()
    watch()
    assert served.action("free-dog").kind == "nothing"
    assert b"title: Another\n" in served.space_file("free-dog", "README.md")
    for kind in ("space", "model"):
        assert {"dev", "x/main"} <= {branch.name for branch in api.list_repo_refs(repo, repo_type=kind).branches}


def test_a_repo_of_somebody_else_with_a_concepts_name_is_not_taken(served: World) -> None:
    """Neither by the listing, nor when the concept's first version is released."""
    api, repo = served.api(), "local/good-dog"
    api.create_repo(repo)
    api.upload_file(path_or_fileobj=MINE, path_in_repo="README.md", repo_id=repo)
    served.write("good-dog", seed=next(SEEDS))
    served.push()
    assert served.action("good-dog").reason == "NameTaken"
    with pytest.raises(ConceptryError, match="was not made by Conceptry"):
        train_concept(**served.trained("good-dog"))
    assert Path(api.hf_hub_download(repo, "README.md", local_dir=served.root / "card")).read_bytes() == MINE


def test_a_repo_that_cannot_be_understood_stops_no_other_one(served: World) -> None:
    served.write("good-dog")
    served.push()
    api, repo = served.api(), "local/free-dog"
    api.create_branch(repo, branch="v2")
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="concept.json", repo_id=repo, revision="v2")
    api.upload_file(path_or_fileobj=b"---\nconceptry:\n  versions: 7\n---\n", path_in_repo="README.md", repo_id=repo)
    state = watch(return_state=True)
    assert state.is_completed()
    assert "concept.json of local/free-dog" in served.action("free-dog").cause
    assert served.action("free-dog").kind == "hold"
    assert served.planned("good-dog").health == "Progressing"


def test_many_concepts_are_looked_at_in_turn(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.drift.FEW", 0)
    served.api().delete_branch("local/free-dog", branch="v1")
    assert served.action("free-dog").kind == "nothing", "a plan asks no single repos where there are many"
    installation, session = served.installation, served.session
    monkeypatch.setattr("flows.drift.FEW", 1)
    looked = find_drift(installation, session, read_desired(installation), list_live(session), in_turn=True)
    assert [drift.reason for drift in looked.concepts["free-dog"].drift] == ["BranchMissing"]

    # The watcher only looks: the watch that it starts must find the same, although others are due by then.
    served.write("other-dog", seed=next(SEEDS))
    served.push()
    served.publish("other-dog", created="2026-01-01T00:00:00+00:00", loss=0.05)
    inspected = []
    for _ in range(3):
        found = find_drift(installation, session, read_desired(installation), list_live(session), in_turn=True)
        inspected.append([name for name, one in found.concepts.items() if one.drift])
    assert inspected == [["free-dog"], [], ["free-dog"]]


def refused(saved: str) -> str:
    """Why a saved plan was not carried out."""
    state = apply(saved, return_state=True)
    assert state.is_failed()
    return str(state.message)


def test_a_saved_plan_is_carried_out_only_while_it_is_true(served: World) -> None:
    title_only(served)
    served.push()
    saved = served.plan().to_json()
    served.api().upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id="local/free-dog", repo_type="space")
    assert "the Hub has changed since" in refused(saved)
    served.push("Another commit")
    assert "git has changed since the plan was saved: from" in refused(saved)
    saved = served.plan().to_json()
    assert [action.kind for action in Plan.from_json(saved).changes] == ["render"]
    assert apply(saved, return_state=True).is_completed()
    assert served.action("free-dog").kind == "nothing"
    assert "free-dog: render v1 -> nothing v1" in refused(saved)
    with pytest.raises(ConceptryError, match="not a saved plan"):
        apply("{}")


def title_only(world: World) -> None:
    """Give the concept another title, which needs no training."""
    file = world.clone / "concepts" / "free-dog" / "concept.yaml"
    file.write_text(file.read_text() + "space: {title: Another}\n")


def test_hours_and_places_come_from_the_repository(world: World) -> None:
    for name in ("one-dog", "two-dog", "three-dog"):
        world.write(name, seed=next(SEEDS))
    (world.clone / "conceptry.yaml").write_text("suspend: true\n")
    world.push()
    assert watch(return_state=True).message == "3 concepts, 3 changes, 3 of them later"
    assert {action.deferred for action in world.plan().changes} == {"conceptry.yaml says `suspend: true`"}
    (world.clone / "conceptry.yaml").write_text("suspended: true\n")
    world.push()
    assert "did you mean suspend?" in str(world.action("one-dog").deferred)
    (world.clone / "conceptry.yaml").unlink()
    world.push()
    watch()
    states = {one.concept: one.health for one in world.plan().concepts}
    assert list(states.values()).count("Progressing") == 2, "max_parallel is 1, and one more may wait"


def test_a_new_recipe_reaches_one_concept_before_the_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("first-dog", "second-dog", "third-dog")
    for name in names:
        world.write(name, seed=next(SEEDS))
    world.push()
    for name in names:
        train_concept(**world.trained(name))
    assert world.plan().changes == ()

    monkeypatch.setattr("tasks.base_models.RECIPE", RECIPE + 1)
    assert {action.cause for action in world.plan().changes} == {f"recipe {RECIPE} -> {RECIPE + 1}"}
    watch()
    started = {name: len(training_runs(world.action(name).fingerprint or "")) for name in names}
    assert started == {"first-dog": 1, "second-dog": 0, "third-dog": 0}
    watch()
    assert len(training_runs(world.action("second-dog").fingerprint or "")) == 0, "the canary is still at work"

    set_state(training_runs(world.action("first-dog").fingerprint or "")[0], "complete")
    train_concept(**world.trained("first-dog"))
    watch()
    started = {name: len(training_runs(world.action(name).fingerprint or "")) for name in names[1:]}
    assert started == {"second-dog": 1, "third-dog": 1}
