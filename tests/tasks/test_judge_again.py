"""Verdicts of a changed gate in the index on main: one commit, lasting, and none where metrics cannot be read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from conceptry.installation import HubTarget
from conceptry.version import Thresholds, Version
from conceptry.version_ref import VersionRef
from tasks.hub import (
    HubSession,
    find_by_ref,
    find_card_edits,
    judge_again,
    list_live,
    publish,
    read_versions,
    releases,
    update_main,
)
from tasks.hub.card import render_unreleased
from tasks.hub.main_card import sealed
from tests.support.bundles import make_bundle

LOOSE, STRICT = Thresholds(0.1, 0.95), Thresholds(0.9, 0.95)


def published(hub: HubTarget, name: str, folder: Path, *, judged: Thresholds | None) -> tuple[Version, ...]:
    """Two versions, each with half of the loss without training; v1 is released."""
    for digit in "12":
        bundle = folder / name / digit
        bundle.parent.mkdir(exist_ok=True)
        publish(HubSession(hub), name, make_bundle(bundle, name, fingerprint=digit * 64, judged=judged))
    return update_main(HubSession(hub), name, "v1")


def listed(hub: HubTarget, name: str) -> tuple[Version, ...]:
    return list_live(HubSession(hub)).concepts[name].versions


def card(hub: HubTarget, name: str) -> str:
    return (HubSession(hub).read(name, "README.md", "main") or b"").decode()


@pytest.mark.parametrize("narrow", [False, True])
def test_verdicts_change_in_one_commit_and_last(
    hub: HubTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: bool
) -> None:
    name = f"judged-{narrow}".lower()
    if narrow:
        # As with hundreds of versions: a card has room for one in full.
        monkeypatch.setattr("conceptry.version_index.IN_FULL", 0)
    first, second = published(hub, name, tmp_path, judged=STRICT)
    assert (first.gate, first.gate_reason, first.judged) == ("rejected", "NotImproved", STRICT)
    commits = len(releases(HubSession(hub), name))

    judged = judge_again(HubSession(hub), name, {1: LOOSE, 2: LOOSE})
    assert [(one.gate, one.gate_reason, one.judged, one.commit) for one in judged] == [
        ("passed", "Improved", LOOSE, first.commit), ("passed", "Improved", LOOSE, second.commit),
    ]  # fmt: skip
    assert [(one.gate, one.judged) for one in listed(hub, name)] == [("passed", LOOSE)] * 2
    judge_again(HubSession(hub), name, {1: LOOSE, 2: LOOSE})
    assert len(releases(HubSession(hub), name)) == commits + 1, "the second time there is nothing to write"

    text = card(hub, name)
    assert "| passed (Improved) |" in text
    assert "| min_improvement 0.1, confidence 0.95 |" in text
    assert "This is the card of **v1**" in text
    assert find_card_edits(HubSession(hub), name, str(list_live(HubSession(hub)).concepts[name].main.sha)) == ()
    assert find_by_ref(HubSession(hub), VersionRef.parse(f"{name}@v2")).manifest.gate == "passed"

    update_main(HubSession(hub), name, "v2")
    assert [one.judged for one in listed(hub, name)] == [LOOSE] * 2, "a release keeps the verdicts"
    published_verdicts = {one.gate for one in read_versions(HubSession(hub), name)}
    assert published_verdicts == {"rejected"}, "the branches are as they were published"


def test_an_edited_card_falls_back_to_verdicts_that_a_plan_judges_again(hub: HubTarget, tmp_path: Path) -> None:
    published(hub, "edited", tmp_path, judged=STRICT)
    judge_again(HubSession(hub), "edited", {1: LOOSE, 2: LOOSE})
    text = card(hub, "edited").replace("# edited", "# mine")
    HubSession(hub).api.upload_file(path_or_fileobj=text.encode(), path_in_repo="README.md", repo_id=hub.repo("edited"))
    versions = update_main(HubSession(hub), "edited", "v1")
    assert {(one.gate, one.judged) for one in versions} <= {("passed", LOOSE), ("rejected", STRICT)}
    assert [one.gate for one in judge_again(HubSession(hub), "edited", {1: LOOSE, 2: LOOSE})] == ["passed"] * 2


def test_versions_that_were_not_judged_or_cannot_be_read_keep_their_verdict(hub: HubTarget, tmp_path: Path) -> None:
    old = published(hub, "old", tmp_path, judged=None)
    assert judge_again(HubSession(hub), "old", {1: STRICT, 2: STRICT}) == old

    first, second = published(hub, "later", tmp_path, judged=STRICT)
    api = HubSession(hub).api
    broken = api.upload_file(
        path_or_fileobj=json.dumps({"manifest": 2}).encode(), path_in_repo="concept.json", repo_id=hub.repo("later"),
        revision="v2",
    ).oid  # fmt: skip
    versions = (first, replace(second, commit=broken))
    text = sealed(render_unreleased("later", versions, {}, hub.installation))
    api.upload_file(path_or_fileobj=text.encode(), path_in_repo="README.md", repo_id=hub.repo("later"))
    judged = judge_again(HubSession(hub), "later", {1: LOOSE, 2: LOOSE})
    assert [(one.gate, one.judged) for one in judged] == [("passed", LOOSE), ("rejected", None)]
    assert [(one.gate, one.judged) for one in listed(hub, "later")] == [("passed", LOOSE), ("rejected", None)]
