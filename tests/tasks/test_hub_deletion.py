"""Deletion of versions: wherever it stops, a deleted version comes back under no number, and is not released."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from conceptry.errors import HubError
from conceptry.installation import HubTarget
from conceptry.version import Version
from tasks.hub import (
    HubSession,
    delete_stale_staging,
    delete_versions,
    find_moved_refs,
    find_version,
    list_live,
    publish,
    read_live,
    repair_refs,
    update_main,
)
from tasks.hub.repo_versions import staging_name, tag_name
from tasks.hub.session import Refs
from tests.support.bundles import make_bundle
from tests.support.killed_client import KillAfter, Killed, interrupt_client_after


def three(hub: HubTarget, name: str, folder: Path) -> tuple[Version, ...]:
    """A concept with three versions, of which the second one is released."""
    for digit in "123":
        bundle = folder / digit
        if not bundle.is_dir():
            make_bundle(bundle, "any", fingerprint=digit * 64)
        publish(HubSession(hub), name, bundle)
    return update_main(HubSession(hub), name, "v2")


def refs_of(hub: HubTarget, name: str) -> Refs:
    refs = HubSession(hub).refs(name)
    assert refs is not None
    return refs


def test_a_deletion_that_was_killed_anywhere_is_finished(hub: HubTarget, tmp_path: Path, kill_after: KillAfter) -> None:
    """By a watch that listed before the deletion began, and so knows of all three versions."""
    deaths, next_bundle = 0, make_bundle(tmp_path / "4", "any", fingerprint="4" * 64)
    for k in range(1, 60):
        name = f"gone-{k}"
        versions = three(hub, name, tmp_path)
        listed = list_live(HubSession(hub)).concepts[name].versions
        seen = kill_after(k)
        try:
            delete_versions(HubSession(hub), name, [versions[0], versions[2]])
            died = False
        except Killed:
            died = True
        kill_after(0)
        session = HubSession(hub)
        repair_refs(session, name, listed)
        update_main(session, name, "v2")
        refs = refs_of(hub, name)
        begun = bool(refs.deleted)
        after = {1, 2, 3} - set(refs.deleted)
        where = seen[-1]
        assert set(refs.branches) == {"main", *(f"v{number}" for number in after)}, where
        kept = [version for version in versions if version.number in after]
        assert {tag for tag in refs.tags if tag.startswith("fp-")} == {tag_name(one.fingerprint) for one in kept}, where
        live = list_live(HubSession(hub)).concepts[name]
        assert [one.number for one in live.versions] == sorted(after), where
        assert live.main is not None
        assert live.main.release == "v2"
        assert find_moved_refs(HubSession(hub), name, live.versions) == ()
        # Numbers are never given again, not even the highest.
        assert publish(HubSession(hub), name, next_bundle).name == "v4", where
        if not died:
            assert after == {2}
            break
        deaths += begun
    assert deaths > 5


@pytest.mark.parametrize("interrupted", ["deletion", "watch"])
def test_a_watch_beside_a_deletion(hub: HubTarget, tmp_path: Path, kill_after: KillAfter, interrupted: str) -> None:
    """A watch that listed before releases the very version, between any two requests of the deletion, or vice versa.

    The version is released and stays, or it is gone and not released.
    """
    outcomes = set()
    for k in range(1, 60):
        name = f"{interrupted}-{k}"
        versions = three(hub, name, tmp_path)
        HubSession(hub).api.delete_tag(hub.repo(name), tag=tag_name(versions[1].fingerprint))
        listed = list_live(HubSession(hub)).concepts[name].versions

        def watch(name: str = name, listed: tuple[Version, ...] = listed) -> None:
            session = HubSession(hub)
            _, left = repair_refs(session, name, listed)
            if any(version.name == "v1" for version in left):
                with suppress(HubError):
                    update_main(session, name, "v1")

        def delete(name: str = name, listed: tuple[Version, ...] = listed) -> None:
            delete_versions(HubSession(hub), name, [listed[0]])

        first, second = (delete, watch) if interrupted == "deletion" else (watch, delete)
        seen = interrupt_client_after(k, second)
        first()
        kill_after(0)
        if len(seen) < k:
            break
        session = HubSession(hub)
        repair_refs(session, name, listed)
        update_main(session, name, keep=True)
        refs, live = refs_of(hub, name), list_live(HubSession(hub)).concepts[name]
        assert live.main is not None
        kept = live.main.release == "v1"
        outcomes.add(kept)
        assert set(refs.branches) == {"main", "v2", "v3", *(["v1"] if kept else [])}, seen[-1]
        assert [one.number for one in live.versions] == sorted(refs.versions), seen[-1]
        assert set(refs.deleted) == (set() if kept else {1}), seen[-1]
        assert find_moved_refs(HubSession(hub), name, live.versions) == ()
    assert outcomes == {True, False}


@pytest.mark.parametrize("seen", ["everything", "the index"])
def test_a_watch_that_looked_before_brings_nothing_back(hub: HubTarget, tmp_path: Path, seen: str) -> None:
    name = seen.replace(" ", "-")
    versions = three(hub, name, tmp_path)
    watch = HubSession(hub)
    if seen == "everything":
        assert watch.refs(name) is not None
    delete_versions(HubSession(hub), name, [versions[0]])

    repair_refs(watch, name, versions)
    update_main(watch, name, "v2")
    update_main(watch, name, "v3")
    assert [one.name for one in list_live(HubSession(hub)).concepts[name].versions] == ["v2", "v3"]
    assert set(refs_of(hub, name).branches) == {"main", "v2", "v3"}


def test_a_version_that_was_released_meanwhile_stays(hub: HubTarget, tmp_path: Path) -> None:
    versions = three(hub, "saved", tmp_path)
    update_main(HubSession(hub), "saved", "v3")

    assert delete_versions(HubSession(hub), "saved", [versions[0], versions[2]]) == (versions[0],)

    refs = refs_of(hub, "saved")
    assert (set(refs.versions), set(refs.deleted)) == ({2, 3}, {1})
    live = list_live(HubSession(hub)).concepts["saved"]
    assert [one.name for one in live.versions] == ["v2", "v3"]


def test_the_same_inputs_make_a_new_version_after_a_deletion(hub: HubTarget, tmp_path: Path) -> None:
    """Even if the deletion was killed before the tag and the staging branch of an earlier death were gone."""
    versions = three(hub, "again", tmp_path)
    old = versions[2]
    session = HubSession(hub)
    session.create_branch("again", staging_name(old.fingerprint), old.commit)
    delete_versions(HubSession(hub), "again", [old])
    assert set(refs_of(hub, "again").branches) == {"main", "v1", "v2"}
    session.create_tag("again", tag_name(old.fingerprint), old.commit)
    session.create_branch("again", staging_name(old.fingerprint), old.commit)

    assert find_version(HubSession(hub), "again", old.fingerprint) is None
    new = publish(HubSession(hub), "again", tmp_path / "3")

    assert (new.name, new.commit != old.commit) == ("v4", True)
    assert refs_of(hub, "again").tags[tag_name(old.fingerprint)] == new.commit
    assert set(refs_of(hub, "again").branches) == {"main", "v1", "v2", "v4"}


def test_an_unfinished_deletion_is_drift_and_is_read_by_nobody(hub: HubTarget, tmp_path: Path) -> None:
    versions = three(hub, "half", tmp_path)
    session = HubSession(hub)
    session.create_tag("half", f"deleted-v3-{versions[2].commit[:12]}", str(session.model("half").sha))  # type: ignore[union-attr]

    live = read_live(HubSession(hub), "half")
    assert [one.name for one in live.versions] == ["v1", "v2"]
    assert [str(drift.reason) for drift in live.drift] == ["DeletionUnfinished"]
    assert [one.name for one in update_main(HubSession(hub), "half", "v2")] == ["v1", "v2"]


@pytest.mark.parametrize("where", ["main", "v1"])
def test_a_tag_made_by_hand_blocks_nothing(hub: HubTarget, tmp_path: Path, where: str) -> None:
    name = f"tagged-{where}"
    versions = three(hub, name, tmp_path)
    bundle = make_bundle(tmp_path / "5", "any", fingerprint="5" * 64)
    HubSession(hub).api.create_tag(hub.repo(name), tag=tag_name("5" * 64), revision=where)
    HubSession(hub).api.create_tag(hub.repo(name), tag="fp-mine", revision="main")

    assert find_moved_refs(HubSession(hub), name, versions) == ()
    assert repair_refs(HubSession(hub), name, versions) == ((), versions)
    new = publish(HubSession(hub), name, bundle)

    assert new.name == "v4"
    assert refs_of(hub, name).tags[tag_name("5" * 64)] == new.commit
    assert find_version(HubSession(hub), name, "5" * 64) == new


def test_a_lost_branch_keeps_its_number(hub: HubTarget, tmp_path: Path) -> None:
    """A person deleted the branch; a run of the same fingerprint must not give its commit a second number."""
    versions = three(hub, "lost", tmp_path)
    HubSession(hub).api.delete_branch(hub.repo("lost"), branch="v2")
    HubSession(hub).api.create_branch(hub.repo("lost"), branch="backup", revision=versions[1].commit)

    assert publish(HubSession(hub), "lost", tmp_path / "2") == versions[1]
    assert set(refs_of(hub, "lost").versions) == {1, 2, 3}


def test_staging_branches_go_when_nobody_goes_on_with_them(hub: HubTarget, tmp_path: Path) -> None:
    """Published ones at once, others when they are old and their run is not active."""
    versions = three(hub, "staged", tmp_path)
    session = HubSession(hub)
    main = str(session.refs("staged").branches["main"])  # type: ignore[union-attr]
    published, waiting, old = (staging_name(digit * 64) for digit in "367")
    for branch, commit in ((published, versions[2].commit), (waiting, main), (old, main)):
        session.create_branch("staged", branch, commit)

    assert delete_stale_staging(HubSession(hub), "staged", delete=False) == (published,)
    repair_refs(HubSession(hub), "staged", versions)
    assert set(refs_of(hub, "staged").branches) == {"main", "v1", "v2", "v3", waiting, old}
    now = timedelta(seconds=-3)  # the Hub tells its time in whole seconds
    assert delete_stale_staging(HubSession(hub), "staged", lambda: {"6" * 64}, older_than=now) == (old,)
    assert set(refs_of(hub, "staged").branches) == {"main", "v1", "v2", "v3", waiting}
    assert delete_stale_staging(HubSession(hub), "nobody") == ()
