"""Versions looked at, compared, brought here, verified, tidied up; and vectors of others taken in."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from safetensors.numpy import load_file, save_file

import cli.delete
import cli.diff
import cli.gc
import cli.history
import cli.show
import cli.verify
from cli.delete import delete_concept
from cli.diff import compare
from cli.embeds_import import publish_embeds
from cli.gc import delete_versions, judge
from cli.history import history
from cli.verify import Finding, verify
from conceptry.errors import ConceptryError, DataCorruptError
from conceptry.policy import Keep
from conceptry.version_ref import VersionRef
from flows.staging_branches import clean_staging
from flows.train_concept import train_concept
from flows.watch import watch
from tasks.embeds import read_embeds
from tasks.hub import FoundVersion, find_by_ref, hub_time, pull
from tasks.hub.repo_versions import deletion_mark, tag_name
from tests.support.registry_world import World, md5, run
from tests.support.wait import wait_until

SEEDS = count(5000, 100)


@pytest.fixture
def two(world: World) -> World:
    """A concept with two versions; the second one is served."""
    seed = next(SEEDS)
    world.write("tame-dog", seed=seed)
    world.push("Two versions begin")
    train_concept(**world.trained("tame-dog", loss=0.05))
    world.write("tame-dog", seed=seed + 1, training={"max_steps": 500})
    world.push("Another picture, more steps")
    train_concept(**world.trained("tame-dog", loss=0.03))
    # The Hub and git tell whole seconds, and a version that was desired in this second is kept.
    pushed = datetime.fromtimestamp(int(run(world.clone, "git", "log", "-1", "--format=%ct")), UTC)
    wait_until(lambda: hub_time(world.session) > pushed, every=0.1)
    return world


def find(world: World, text: str) -> FoundVersion:
    return find_by_ref(world.session, VersionRef.parse(text))


def wrong(findings: list[Finding]) -> dict[str, str]:
    return {f"{one.version or ''} {one.what}".strip(): one.wrong for one in findings if one.wrong}


def test_versions_are_found_by_what_people_write_compared_and_printed(
    two: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    titles = {what: find(two, f"tame-dog{what}").title for what in ("", "@v1", "@release", "@latest")}
    assert titles == {"": "tame-dog@v2", "@v1": "tame-dog@v1", "@release": "tame-dog@v2", "@latest": "tame-dog@v2"}
    assert find(two, "tame-dog").released
    with pytest.raises(ConceptryError, match="there is no version v9; choose a published one: v1, v2"):
        find(two, "tame-dog@v9")
    with pytest.raises(ConceptryError, match="has no published version"):
        find(two, "no-dog")
    # One world for all that only reads: it takes longer to make than to look at.
    they_are_compared(two, tmp_path)
    they_are_printed(capsys)


def they_are_compared(two: World, tmp_path: Path) -> None:
    old, new = find(two, "tame-dog@v1"), find(two, "tame-dog@v2")
    difference = compare(two.session, two.installation.work, old, new, picture=tmp_path / "diff.png")
    said = [str(change) for change in difference.changes]
    assert "~ training.max_steps default -> 500" in said
    assert len([line for line in said if line.startswith("+ images/")]) == 1
    assert len([line for line in said if line.startswith("- images/")]) == 1
    assert difference.metrics["loss.trained"] == (0.05, 0.03)
    assert difference.cosine == pytest.approx((1.0,), abs=1e-6), "both are constant vectors"
    with Image.open(tmp_path / "diff.png") as picture:
        assert picture.width > 2 * 384


def test_a_version_is_brought_here_whole(two: World, tmp_path: Path) -> None:
    found = pull(two.session, VersionRef.parse("tame-dog@v1"), tmp_path / "here")
    assert found.version.name == "v1"
    files = {path.name for path in (tmp_path / "here").iterdir()}
    assert {"concept.json", "learned_embeds.safetensors", "handler.py"} <= files
    api = two.api()
    manifest = json.loads((tmp_path / "here" / "concept.json").read_text())
    assert manifest["files"]["learned_embeds.safetensors"]
    # A version whose files were changed behind our back, at its very commit's place in the index.
    theirs = api.upload_file(
        path_or_fileobj=b"other", path_in_repo="requirements.txt", repo_id="local/tame-dog", revision="v1"
    ).oid
    text = Path(api.hf_hub_download("local/tame-dog", "README.md", local_dir=tmp_path / "card")).read_text()
    api.upload_file(
        path_or_fileobj=text.replace(found.version.commit, theirs).encode(),
        path_in_repo="README.md",
        repo_id="local/tame-dog",
    )
    with pytest.raises(DataCorruptError, match=r"1 of \d+ files are not those of v1: requirements.txt"):
        pull(two.session, VersionRef.parse("tame-dog@v1"), tmp_path / "there")
    found_wrong = wrong(verify(two.installation, ["tame-dog@v1"]))
    assert "other bytes than concept.json says: requirements.txt" in found_wrong["v1 Hub"]


def they_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(command: Callable[..., Any], *arguments: Any, **how: Any) -> str:
        with suppress(typer.Exit):
            command(*arguments, **how)
        return capsys.readouterr().out

    text = printed(cli.show.command, "tame-dog@v2")
    assert "tame-dog@v2  gate passed, released" in text
    told = json.loads(printed(cli.show.command, "tame-dog@v1", json=True))
    assert (told["version"], told["released"], told["gate"]) == ("v1", False, "passed")
    text = printed(cli.diff.command, "tame-dog@v1", "tame-dog@v2")
    assert "~ training.max_steps default -> 500" in text
    assert "cosine of the vectors: 1.0000  (of 1 and 1 vectors)" in text
    told = json.loads(printed(cli.diff.command, "tame-dog@v1", "tame-dog@v2", json=True))
    assert Path(told["picture"]).is_file()
    assert told["metrics"]["loss.trained"] == {"old": 0.05, "new": 0.03}
    events = json.loads(printed(cli.history.command, "tame-dog", json=True))
    assert {one["kind"] for one in events} == {"commit", "version", "release"}
    assert "v2 was made, passed" in printed(cli.history.command, "tame-dog")
    assert json.loads(printed(cli.verify.command, [], json=True))["ok"]
    assert "checks passed." in printed(cli.verify.command, ["tame-dog@v2"])
    assert json.loads(printed(cli.gc.command, json=True))["deleted"] == 0
    assert "tame-dog@v2" in printed(cli.gc.command, last=1)
    with pytest.raises(ConceptryError, match="is still in git"):
        cli.delete.command("tame-dog")


def test_history_tells_of_commits_versions_and_releases(two: World) -> None:
    run(two.clone, "git", "rm", "-rq", "concepts/tame-dog")
    two.push("Gone")
    events = history(two.installation, "tame-dog")
    told = [(event.kind, event.what) for event in events]
    assert told[0] == ("commit", "Gone (removed)")
    assert ("commit", "Two versions begin (added)") in told
    changed = "~ training.max_steps default -> 500, other images"
    assert ("commit", f"Another picture, more steps ({changed})") in told
    assert {what.split(",")[0] for kind, what in told if kind == "version"} == {"v1 was made", "v2 was made"}
    assert {"Release v1", "Release v2"} <= {what for kind, what in told if kind == "release"}


def test_verify_finds_what_is_wrong_from_git_to_the_hub(two: World) -> None:
    installation = two.installation
    right = verify(installation)
    assert wrong(right) == {}
    assert {(one.version, one.what) for one in right if one.version == "v2"} == {
        ("v2", what) for what in ("index", "fingerprint", "git", "DVC", "Hub")
    }
    oid = next(iter(two.pushed))
    image = next(oid for oid in two.pushed if not oid.endswith(".dir"))
    (two.root / "remote" / "files" / "md5" / image[:2] / image[2:]).write_bytes(b"damaged")
    two.api().delete_branch("local/tame-dog", branch="v1")
    found = wrong(verify(installation, ["tame-dog"]))
    assert "the branch v1 was deleted" in found["branches and tags"]
    assert "do not have their md5" in found["v2 DVC"]
    (two.root / "remote" / "files" / "md5" / oid[:2] / oid[2:]).unlink()
    assert "not in the DVC remote" in wrong(verify(installation, ["tame-dog@v2"]))["v2 DVC"]
    with pytest.raises(ConceptryError, match="there is no version v9"):
        verify(installation, ["tame-dog@v9"])


def test_gc_keeps_what_is_needed_and_says_why(two: World) -> None:
    installation = two.installation
    assert all(one.kept for one in judge(installation)), "git asked for both of them today"
    few = Keep(last=1, days=0)
    two.push("A day later, as it were")
    verdicts = {one.version.name: one.kept for one in judge(installation, keep=few)}
    assert verdicts["v2"] == "it is released"
    # The state at the beginning of the horizon counts too: it is v2's.
    assert verdicts["v1"] is None
    two.write("wild-dog", initializer_token="tame-dog@v1", seed=next(SEEDS))
    two.push("Another concept starts from the old version")
    verdicts = {one.version.name: one.kept for one in judge(installation, keep=few)}
    assert verdicts["v1"] == "wild-dog starts from it"
    run(two.clone, "git", "rm", "-rq", "concepts/wild-dog")
    two.push("It does not any more")
    assert delete_versions(installation, judge(installation, keep=few), few) == 1
    assert two.branches("tame-dog") == ["main", "v2"]
    assert [version.name for version in two.there("tame-dog").versions] == ["v2"]
    assert two.action("tame-dog").kind == "nothing", "nobody takes it for damage"
    version = two.there("tame-dog").versions[0]
    staging = f"staging/{version.fingerprint}"
    two.api().create_branch("local/tame-dog", branch=staging, revision=version.commit)
    assert clean_staging(installation, ["tame-dog"], delete=True) == {"tame-dog": (staging,)}
    assert two.branches("tame-dog") == ["main", "v2"]
    with pytest.raises(ConceptryError, match="has no published version"):
        judge(installation, ["no-dog"])


def test_what_was_released_meanwhile_is_not_deleted(two: World) -> None:
    installation, few = two.installation, Keep(last=1, days=0)
    two.push("A day later, as it were")
    verdicts = judge(installation, keep=few)
    assert [one.version.name for one in verdicts if one.kept is None] == ["v1"]
    file = two.clone / "concepts" / "tame-dog" / "concept.yaml"
    file.write_text(file.read_text() + "release: v1\n")
    two.push("The old one is wanted again")
    watch()
    assert delete_versions(installation, verdicts, few) == 0
    assert two.branches("tame-dog") == ["main", "v1", "v2"]


def test_a_watch_finishes_a_deletion_that_was_killed(two: World) -> None:
    v1, v2 = two.there("tame-dog").versions
    session, plan = two.session, two.plan()
    session.create_tag("tame-dog", deletion_mark(v1), v2.commit)
    assert plan.hub == two.plan().hub, "no listing shows it"
    action = two.action("tame-dog")
    assert (action.kind, [str(drift.reason) for drift in action.drift]) == ("repair", ["DeletionUnfinished"])
    watch()
    assert two.branches("tame-dog") == ["main", "v2"]
    assert [version.name for version in two.there("tame-dog").versions] == ["v2"]
    assert two.action("tame-dog").kind == "nothing"
    refs = two.session.refs("tame-dog")
    assert refs is not None
    assert (refs.next_number, set(refs.tags)) == (3, {tag_name(v2.fingerprint), deletion_mark(v1)})


def test_a_concept_is_deleted_only_when_it_left_git(two: World) -> None:
    installation = two.installation
    with pytest.raises(ConceptryError, match="is still in git, so the watcher would train it again"):
        delete_concept(installation, "tame-dog")
    run(two.clone, "git", "rm", "-rq", "concepts/tame-dog")
    two.push("Gone")
    watch()
    assert two.action("tame-dog").cause == "archived"
    with pytest.raises(ConceptryError, match="confirm with --yes"):
        cli.delete.command("tame-dog")
    delete_concept(installation, "tame-dog")
    assert two.plan().concepts == ()
    with pytest.raises(ConceptryError, match="is not on the Hub"):
        delete_concept(installation, "tame-dog")


def test_vectors_of_others_become_a_version_that_is_never_trained(world: World, tmp_path: Path) -> None:
    vectors = np.random.default_rng(next(SEEDS)).normal(size=(2, 96)).astype("float32")
    save_file({"<other-dog>": vectors}, tmp_path / "learned_embeds.safetensors")
    embeds = read_embeds(tmp_path / "learned_embeds.safetensors")
    world.write("other-dog", num_vectors=1, seed=next(SEEDS))
    keep_in_cache(world)
    with pytest.raises(ConceptryError, match=r"holds 2 vectors, concept\.yaml says num_vectors: 1"):
        publish_embeds(world.installation, world.clone, "other-dog", embeds)
    world.write("other-dog", num_vectors=2, seed=next(SEEDS))
    keep_in_cache(world)
    done = publish_embeds(world.installation, world.clone, "other-dog", embeds)
    assert (done.version.name, done.version.gate, done.existed) == ("v1", "passed", False)
    assert publish_embeds(world.installation, world.clone, "other-dog", embeds).existed
    world.push()
    assert world.action("other-dog").kind == "repair", "only its Space is missing"
    watch()
    assert world.action("other-dog").kind == "nothing"
    assert wrong(verify(world.installation)) == {}
    pulled = pull(world.session, VersionRef.parse("other-dog"), tmp_path / "pulled")
    assert pulled.manifest.imported is not None
    np.testing.assert_array_equal(load_file(tmp_path / "pulled" / "learned_embeds.safetensors")["<other-dog>"], vectors)
    assert (tmp_path / "pulled" / "text_encoder" / "saved_model.pb").is_file()


def keep_in_cache(world: World) -> None:
    """Put what was written last where `dvc add` puts it."""
    for oid, data in world.pushed.items():
        path: Any = world.clone / ".dvc" / "cache" / "files" / "md5" / oid[:2] / oid[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        assert oid.startswith(md5(data))
    (world.clone / ".dvc" / ".gitignore").write_text("/cache\n/tmp\n")
    shutil.rmtree(world.clone / ".dvc" / "tmp", ignore_errors=True)
