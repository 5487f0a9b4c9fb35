"""The plan's table: for each world, what is done about serving and about training, and why."""

import json
from dataclasses import replace
from datetime import date, timedelta

import pytest

from conceptry.actions import Action
from conceptry.desired import Desired, DesiredConcept, ImageRef
from conceptry.errors import Problem, SpecError
from conceptry.fingerprint import keys_digest, training_fingerprint
from conceptry.plan import open_fingerprints, pending_trainings, plan
from conceptry.plan_inputs import PlanInputs
from conceptry.planner import choose_release
from conceptry.reasons import DriftReason, GateReason
from conceptry.retraining import Failure
from conceptry.version import Drift, Evidence, Gate, Live, LiveConcept, MainState, SpaceState
from tests.support.plan_worlds import (
    BASES,
    TEMPLATES,
    TINY,
    act,
    images_of,
    serving_of,
    spec_of,
    version_of,
    wanted_of,
)

V1, V2, V3 = version_of(1), version_of(2, "abcd"), version_of(3, "abcde")
REJECTED = version_of(2, "abcd", gate="rejected")
UNDECIDED = version_of(2, "abcd", gate="undecided", gate_reason=GateReason.IMPROVEMENT_UNCLEAR)
NO_BETTER = version_of(2, "abcd", gate="rejected", gate_reason=GateReason.NOT_BETTER_THAN_RELEASED)
EVERY_30_DAYS = {"retrain": {"every_days": 30}}
RETRAINED = version_of(2, retrain="2026-12-01", created="2026-12-03T00:00:00Z")
STEPS = {"training": {"max_steps": 3000}}
TITLE = {"space": {"title": "My cat"}}
PRIVATE = {"space": {"private": True}}
REJECTED_V1 = version_of(1, gate="rejected")
BROKEN = DesiredConcept("my-cat", None, SpecError([Problem(4, "release", "'x'")] * 2, "c.yaml"), None, None)


BRANCH_GONE = Drift(DriftReason.BRANCH_MISSING, "the branch v1 was deleted")
EDITED = Drift(DriftReason.SPACE_EDITED, "the Space was edited manually (app.py)")
TAG_GONE = Drift(DriftReason.TAG_MISSING, "the tag fp-1 was deleted")


def drifted(*drift: Drift) -> LiveConcept:
    """The concept with v1 served, and what was changed by hand."""
    return LiveConcept("my-cat", (V1,), serving_of(V1), drift=drift)


def in_words(action: Action) -> str:
    deferral = f" ({action.deferral})" if action.deferral else ""
    return f"{action.kind} {action.reason} {action.version or '-'}{deferral}"


def fingerprint(letters: str = "abc", retrain: str | None = None, **changes: object) -> str:
    return training_fingerprint(spec_of(**changes), images_of(letters), TINY, retrain)


# Each world in words, its plan, and "SERVING | TRAINING | SYNC HEALTH"; an action is "KIND REASON VERSION (DEFERRAL)".
# fmt: off
CASES = {
    "a first version": (act(wanted_of()),
        "nothing AwaitingVersion - | train FirstVersion - | OutOfSync Missing"),
    "images added and removed": (
        act(wanted_of("acde"), V1, space=serving_of(V1)),
        "nothing InSync v1 | train ImagesChanged - | OutOfSync Healthy"),
    "an image added": (act(wanted_of("abcd"), V1, space=serving_of(V1)),
        "nothing InSync v1 | train ImagesChanged - | OutOfSync Healthy"),
    "an image removed and a setting changed": (
        act(wanted_of("ab", **STEPS), V1, space=serving_of(V1)),
        "nothing InSync v1 | train ImagesChanged - | OutOfSync Healthy"),
    "a setting changed": (
        act(wanted_of(training={"early_stopping": False}), V1, space=serving_of(V1)),
        "nothing InSync v1 | train SettingsChanged - | OutOfSync Healthy"),
    "a newer recipe": (
        act(wanted_of(), V1, space=serving_of(V1), bases={"tiny": replace(TINY, recipe=4)}),
        "nothing InSync v1 | train BaseModelChanged - | OutOfSync Healthy"),
    "other weights of the base model": (
        act(wanted_of(), V1, space=serving_of(V1), bases={"tiny": replace(TINY, digest="9" * 64)}),
        "nothing InSync v1 | train BaseModelChanged - | OutOfSync Healthy"),
    "another base model": (
        act(wanted_of(base_model="sd-v1-4"), V1, space=serving_of(V1)),
        "nothing InSync v1 | train BaseModelChanged - | OutOfSync Healthy"),
    "a caption added": (
        act(replace(wanted_of(), images=(*images_of("abc"), ImageRef("a.txt", "0" * 32))), V1),
        "repair SpaceMissing v1 | train ImagesChanged - | OutOfSync Missing"),
    "an index entry without images": (
        act(wanted_of("abcd"), replace(V1, images=(), spec={})),
        "repair SpaceMissing v1 | train ImagesChanged - | OutOfSync Missing"),
    "an index entry without settings": (
        act(wanted_of(**STEPS), replace(V1, spec={})),
        "repair SpaceMissing v1 | train SettingsChanged - | OutOfSync Missing"),
    "a retraining that is due": (
        act(wanted_of(**EVERY_30_DAYS), V1, space=serving_of(V1), today=date(2026, 12, 3)),
        "nothing InSync v1 | train RetrainDue - | OutOfSync Healthy"),
    "a pinned version of which nothing is published": (
        act(wanted_of(release="v1"), space=None),
        "nothing AwaitingVersion - | train FirstVersion - | OutOfSync Missing"),
    "a pinned older version": (
        act(wanted_of("abcd", release="v1"), V1, V2, space=serving_of(V2)),
        "release ReleasePinned v1 | nothing InputsTrained - | OutOfSync Healthy"),
    "a pinned version that its gate rejected": (
        act(wanted_of("abcd", release="v2"), V1, REJECTED, space=serving_of(V1)),
        "release ReleasePinned v2 | nothing InputsTrained - | OutOfSync Healthy"),
    "a paused Space that served nothing": (
        act(wanted_of("abcd"), V1, V2, space=SpaceState(None, None, paused=True)),
        "release ReleaseLatest v2 | nothing InputsTrained - | OutOfSync Missing"),
    "nothing is to be released": (
        act(wanted_of(release="none"), V1, space=serving_of(V1)),
        "release ReleaseNone - | nothing InputsTrained - | OutOfSync Healthy"),
    "a retraining that passed": (
        act(wanted_of(**EVERY_30_DAYS), V1, RETRAINED, space=serving_of(V1)),
        "release ReleaseLatest v2 | nothing InputsTrained - | OutOfSync Healthy"),
    "a Space that serves a version which is gone": (
        act(wanted_of(), V1, space=SpaceState("v9", "x=1")),
        "release ReleaseLatest v1 | nothing InputsTrained - | OutOfSync Healthy"),
    "git went back to published inputs": (
        act(wanted_of("abc"), V1, V2, space=serving_of(V2)),
        "adopt InputsPublished v1 | nothing InputsTrained - | OutOfSync Healthy"),
    "git went forward to published inputs": (
        act(wanted_of("abcd"), V1, V2, space=serving_of(V1)),
        "adopt InputsPublished v2 | nothing InputsTrained - | OutOfSync Healthy"),
    "published inputs whose images are no longer pushed": (
        act(replace(wanted_of("abc"), missing=images_of("a")), V1, V2, space=serving_of(V2)),
        "adopt InputsPublished v1 | nothing InputsTrained - | OutOfSync Healthy"),
    "published inputs whose listing is no longer pushed": (
        act(replace(wanted_of("abc"), images=None), V1, V2, space=serving_of(V2)),
        "adopt InputsPublished v1 | nothing InputsTrained - | OutOfSync Healthy"),
    "another title": (act(wanted_of(**TITLE), V1, space=serving_of(V1)),
        "render SpaceOutdated v1 | nothing InputsTrained - | OutOfSync Healthy"),
    "another emoji and other hardware": (
        act(wanted_of(space={"emoji": "🐈", "hardware": "t4-small"}), V1, space=serving_of(V1)),
        "render SpaceOutdated v1 | nothing InputsTrained - | OutOfSync Healthy"),
    "newer templates": (
        act(wanted_of(), V1, space=serving_of(V1, templates="older")),
        "render TemplatesChanged v1 | nothing InputsTrained - | OutOfSync Healthy"),
    "another title while a training runs": (
        act(wanted_of("abcd", **TITLE), V1, space=serving_of(V1), attempts={fingerprint("abcd"): "running"}),
        "render SpaceOutdated v1 | nothing TrainingRunning - | OutOfSync Progressing"),
    "a listing that was not pushed": (
        act(replace(wanted_of(), images=None)),
        "nothing AwaitingVersion - | wait ListingNotPushed - | OutOfSync Missing"),
    "images that were not pushed": (
        act(replace(wanted_of("abcdefg"), missing=images_of("defg")), V1, space=serving_of(V1)),
        "nothing InSync v1 | wait ImagesNotPushed - | OutOfSync Healthy"),
    "a suspended concept in sync": (
        act(wanted_of(suspend=True), V1, space=serving_of(V1)),
        "hold Suspended v1 | nothing InputsTrained - | Synced Suspended"),
    "a suspended concept with other images": (
        act(wanted_of("abcd", suspend=True), V1, space=serving_of(V1)),
        "hold Suspended v1 | hold Suspended - | OutOfSync Suspended"),
    "a failed training": (
        act(wanted_of("abcd"), V1, space=serving_of(V1), attempts={fingerprint("abcd"): "failed"}),
        "nothing InSync v1 | hold TrainingFailed - | OutOfSync Degraded"),
    "a training that a user cancelled": (
        act(
            wanted_of("abcd"), V1, space=serving_of(V1), attempts={fingerprint("abcd"): "failed"},
            failures={fingerprint("abcd"): Failure(date(2026, 11, 29), cancelled=True)},
        ),
        "nothing InSync v1 | hold TrainingCancelled - | OutOfSync Healthy"),
    "a failed first training": (
        act(wanted_of(), attempts={fingerprint(): "failed"}),
        "nothing AwaitingVersion - | hold TrainingFailed - | OutOfSync Degraded"),
    "a broken concept.yaml": (
        act(BROKEN),
        "hold SpecInvalid - | hold SpecInvalid - | Unknown Degraded"),
    "a base model that is not available": (
        act(wanted_of(base_model="sd-v1-4"), bases={"tiny": TINY}),
        "nothing AwaitingVersion - | hold BaseModelUnavailable - | Unknown Degraded"),
    "an initializer that the base model does not know": (
        act(wanted_of(), initializers={"my-cat": "'cat' is 3 tokens"}),
        "nothing AwaitingVersion - | hold InitializerUnknown - | OutOfSync Degraded"),
    "an unknown initializer of a version that is published": (
        act(wanted_of(), V1, space=serving_of(V1), initializers={"my-cat": "'cat' is 3 tokens"}),
        "nothing InSync v1 | nothing InputsTrained - | Synced Healthy"),
    "an empty images folder": (act(wanted_of("")),
        "nothing AwaitingVersion - | hold NoImages - | OutOfSync Degraded"),
    "a rejected version beside a released one": (
        act(wanted_of("abcd"), V1, REJECTED, space=serving_of(V1)),
        "hold GateRejected v1 | nothing InputsTrained - | Synced Degraded"),
    "a version that is no better than the released one": (
        act(wanted_of("abcd"), V1, NO_BETTER, space=serving_of(V1)),
        "hold NotBetter v1 | nothing InputsTrained - | Synced Healthy"),
    "a first version that the gate could not decide about": (
        act(wanted_of("abcd"), UNDECIDED),
        "hold GateUndecided - | nothing InputsTrained - | Synced Degraded"),
    "an undecided version beside a released one": (
        act(wanted_of("abcd"), V1, UNDECIDED, space=serving_of(V1)),
        "hold GateUndecided v1 | nothing InputsTrained - | Synced Degraded"),
    "an undecided version that is pinned": (
        act(wanted_of("abcd", release="v2"), V1, UNDECIDED, space=serving_of(V1)),
        "release ReleasePinned v2 | nothing InputsTrained - | OutOfSync Healthy"),
    "a rejected first version": (act(wanted_of("abcd"), REJECTED),
        "hold GateRejected - | nothing InputsTrained - | Synced Degraded"),
    "a pinned version that does not exist": (
        act(wanted_of(release="v7"), V1, space=serving_of(V1)),
        "hold VersionNotPublished - | nothing InputsTrained - | OutOfSync Degraded"),
    "a Space whose app ended in an error": (
        act(wanted_of(), V1, space=replace(serving_of(V1), stage="RUNTIME_ERROR")),
        "hold SpaceFailed v1 | nothing InputsTrained - | Synced Degraded"),
    "a Space that failed at an earlier commit": (
        act(wanted_of(), V1, space=replace(serving_of(V1), stage="RUNTIME_ERROR", sha="a" * 40, running_sha="b" * 40)),
        "nothing InSync v1 | nothing InputsTrained - | Synced Healthy"),
    "a concept removed from git": (act(None, V1, space=serving_of(V1)),
        "archive RemovedFromGit - | nothing Archived - | OutOfSync Healthy"),
    "a deleted Space": (act(wanted_of(), V1),
        "repair SpaceMissing v1 | nothing InputsTrained - | OutOfSync Missing"),
    "a paused Space": (
        act(wanted_of(), V1, space=replace(serving_of(V1), paused=True)),
        "repair SpacePaused v1 | nothing InputsTrained - | OutOfSync Degraded"),
    "a Space without a stamp": (
        act(wanted_of(), V1, space=SpaceState("v1", None)),
        "repair SpaceUnstamped v1 | nothing InputsTrained - | OutOfSync Degraded"),
    "a Space with a stamp of another kind": (
        act(wanted_of(), V1, space=SpaceState("v1", "edited by hand")),
        "repair SpaceUnstamped v1 | nothing InputsTrained - | OutOfSync Degraded"),
    "a deleted branch and a deleted tag": (
        act(wanted_of(), there=drifted(BRANCH_GONE, TAG_GONE)),
        "repair Drifted v1 | nothing InputsTrained - | OutOfSync Degraded"),
    "a deleted branch while other images are in git": (
        act(wanted_of("abcd"), there=drifted(BRANCH_GONE)),
        "repair Drifted v1 | train ImagesChanged - (RepairFirst) | OutOfSync Degraded"),
    "a card of another version": (
        act(wanted_of(), there=replace(drifted(), main=MainState("v9"))),
        "repair CardOutdated v1 | nothing InputsTrained - | OutOfSync Healthy"),
    "a card of no version": (
        act(wanted_of(), there=replace(drifted(), main=MainState(None))),
        "repair CardOutdated v1 | nothing InputsTrained - | OutOfSync Healthy"),
    "a card of a version that is not released": (
        act(wanted_of(release="none"), there=replace(drifted(), space=None, main=MainState("v1"))),
        "repair CardOutdated - | nothing InputsTrained - | OutOfSync Missing"),
    "a repo that cannot be read": (
        act(wanted_of(), there=replace(drifted(), error="concept.json cannot be read")),
        "hold RepoUnreadable - | hold RepoUnreadable - | Unknown Degraded"),
    "an unreachable remote": (
        act(replace(wanted_of("abcd"), images=None, remote_error="no answer"), V1, space=serving_of(V1)),
        "nothing InSync v1 | wait RemoteUnreachable - | OutOfSync Healthy"),
    "an unreachable remote and published inputs": (
        act(replace(wanted_of("abc"), images=None, remote_error="no answer"), V1, V2, space=serving_of(V2)),
        "adopt InputsPublished v1 | nothing InputsTrained - | OutOfSync Healthy"),
    "everything in sync": (act(wanted_of(), V1, space=serving_of(V1)),
        "nothing InSync v1 | nothing InputsTrained - | Synced Healthy"),
    "everything in sync, the card too": (
        act(wanted_of(), there=replace(drifted(), main=MainState("v1"))),
        "nothing InSync v1 | nothing InputsTrained - | Synced Healthy"),
    "a deleted branch of a run that is still releasing": (
        act(wanted_of(), there=drifted(BRANCH_GONE), attempts={V1.fingerprint: "running"}),
        "nothing ReleaseRunning - | nothing InputsTrained - | OutOfSync Progressing"),
    "nothing released, the Space paused": (
        act(wanted_of(release="none"), V1, space=SpaceState(None, None, paused=True)),
        "nothing NothingReleased - | nothing InputsTrained - | Synced Suspended"),
    "nothing released, no Space": (act(wanted_of(release="none"), V1),
        "nothing NothingReleased - | nothing InputsTrained - | Synced Suspended"),
    "a training that runs": (
        act(wanted_of("abcd"), V1, space=serving_of(V1), attempts={fingerprint("abcd"): "running"}),
        "nothing InSync v1 | nothing TrainingRunning - | OutOfSync Progressing"),
    "a version whose run is at the Space": (
        act(wanted_of("abcd"), V1, V2, space=serving_of(V1), attempts={V2.fingerprint: "running"}),
        "nothing ReleaseRunning - | nothing InputsTrained - | OutOfSync Progressing"),
    "a retraining that is not due yet": (
        act(wanted_of(**EVERY_30_DAYS), V1, space=serving_of(V1), today=date(2026, 11, 30)),
        "nothing InSync v1 | nothing InputsTrained - | Synced Healthy"),
    "a retraining without a date": (
        act(wanted_of(**EVERY_30_DAYS), V1, space=serving_of(V1)),
        "nothing InSync v1 | nothing InputsTrained - | Synced Healthy"),
    "a retraining that was made": (
        act(wanted_of(**EVERY_30_DAYS), V1, RETRAINED, space=serving_of(RETRAINED), today=date(2026, 12, 30)),
        "nothing InSync v2 | nothing InputsTrained - | Synced Healthy"),
    "a retraining of a pinned version": (
        act(wanted_of(release="v1", **EVERY_30_DAYS), V1, space=serving_of(V1), today=date(2027, 11, 30)),
        "nothing InSync v1 | nothing InputsTrained - | Synced Healthy"),
    "another gate": (
        act(wanted_of("abc", gate={"min_improvement": 0.9}), V1, space=serving_of(V1)),
        "nothing InSync v1 | nothing InputsTrained - | Synced Healthy"),
    "an archived concept with a paused Space": (
        act(None, V1, space=replace(serving_of(V1), paused=True)),
        "nothing Archived - | nothing Archived - | Synced Suspended"),
    "an archived concept whose Space serves nothing": (
        act(None, V1, space=SpaceState(None, None)),
        "nothing Archived - | nothing Archived - | Synced Suspended"),
    "an archived concept without a Space": (act(None, V1),
        "nothing Archived - | nothing Archived - | Synced Suspended"),
    "nothing is to be released, and the Space still runs": (
        act(wanted_of(release="none"), V1, space=SpaceState(None, None, stage="RUNNING")),
        "release ReleaseNone - | nothing InputsTrained - | OutOfSync Missing"),
    "an archived concept whose Space still runs": (
        act(None, V1, space=SpaceState(None, None, stage="RUNNING")),
        "archive RemovedFromGit - | nothing Archived - | OutOfSync Healthy"),
    "an archived concept whose card still describes a version": (
        act(None, there=LiveConcept("my-cat", (V1,), replace(serving_of(V1), paused=True), MainState("v1"))),
        "repair CardOutdated - | nothing Archived - | OutOfSync Degraded"),
    "an archived concept whose branch was deleted": (
        act(None, there=replace(drifted(BRANCH_GONE), space=None)),
        "repair Drifted - | nothing Archived - | OutOfSync Degraded"),
    "nothing is to be released while a training runs": (
        act(wanted_of("abcd", release="none"), V1, space=serving_of(V1), attempts={fingerprint("abcd"): "running"}),
        "release ReleaseNone - | nothing TrainingRunning - | OutOfSync Progressing"),
    "nothing is to be released, and other images are in git": (
        act(wanted_of("abcd", release="none"), V1, space=serving_of(V1)),
        "release ReleaseNone - | train ImagesChanged - | OutOfSync Healthy"),
    "another title while other images wait for dvc push": (
        act(replace(wanted_of("abcd", **TITLE), images=None), V1, space=serving_of(V1)),
        "render SpaceOutdated v1 | wait ListingNotPushed - | OutOfSync Healthy"),
    "a pinned older version while a training failed": (
        act(wanted_of("abcde", release="v1"), V1, V2, space=serving_of(V2), attempts={V3.fingerprint: "failed"}),
        "release ReleasePinned v1 | hold TrainingFailed - | OutOfSync Degraded"),
    "an edited Space while other images are in git": (
        act(wanted_of("abcd"), there=drifted(EDITED)),
        "repair Drifted v1 | train ImagesChanged - | OutOfSync Degraded"),
    "latest again with other images after nothing was released": (
        act(wanted_of("abcd"), V1, space=SpaceState(None, None, paused=True)),
        "nothing AwaitingVersion - | train ImagesChanged - | OutOfSync Missing"),
    "latest again with other images after nothing was released, the Space deleted": (
        act(wanted_of("abcd"), there=replace(drifted(), space=None, main=MainState(None))),
        "nothing AwaitingVersion - | train ImagesChanged - | OutOfSync Missing"),
    "a deleted Space while other images are in git": (
        act(wanted_of("abcde"), there=LiveConcept("my-cat", (V1, V2), None, MainState("v1"))),
        "repair SpaceMissing v1 | train ImagesChanged - | OutOfSync Missing"),
    "a private concept that is public": (
        act(wanted_of(**PRIVATE), there=replace(drifted(), public=True)),
        "hide Private - | nothing InputsTrained - | OutOfSync Healthy"),
    "a private concept that is public, with a rejected version and a training that failed": (
        act(wanted_of("abcd", **PRIVATE), there=LiveConcept("my-cat", (REJECTED_V1,), None, public=True),
            attempts={fingerprint("abcd"): "failed"}),
        "hide Private - | hold TrainingFailed - | OutOfSync Degraded"),
    "a private suspended concept that is public and released": (
        act(wanted_of(suspend=True, release="none", **PRIVATE), there=replace(drifted(), public=True)),
        "hide Private - | nothing InputsTrained - | OutOfSync Healthy"),
    "a private concept that is hidden": (
        act(wanted_of(**PRIVATE), V1, space=serving_of(V1, **PRIVATE)),
        "nothing InSync v1 | nothing InputsTrained - | Synced Healthy"),
    "a suspended concept that is to be taken down": (
        act(wanted_of(suspend=True, release="none"), V1, space=serving_of(V1)),
        "release ReleaseNone - | nothing InputsTrained - | OutOfSync Healthy"),
    "a suspended concept that is rolled back": (
        act(wanted_of("abcd", suspend=True, release="v1"), V1, V2, space=serving_of(V2)),
        "release ReleasePinned v1 | nothing InputsTrained - | OutOfSync Healthy"),
    "a suspended concept with another title": (
        act(wanted_of(suspend=True, **TITLE), V1, space=serving_of(V1)),
        "hold Suspended v1 | nothing InputsTrained - | OutOfSync Suspended"),
    "a broken concept.yaml that takes down": (
        act(replace(BROKEN, taken_down=True), V1, space=serving_of(V1)),
        "release ReleaseNone - | hold SpecInvalid - | Unknown Degraded"),
    "a broken concept.yaml that hides": (
        act(replace(BROKEN, hidden=True), there=replace(drifted(), public=True)),
        "hide Private - | hold SpecInvalid - | Unknown Degraded"),
    "a broken images.dvc and another title": (
        act(replace(wanted_of(**TITLE), images=None, dvc_md5=None, error=BROKEN.error), V1, space=serving_of(V1)),
        "render SpaceOutdated v1 | hold SpecInvalid - | Unknown Degraded"),
    "a repo that cannot be read and nothing to be released": (
        act(wanted_of(release="none"), there=replace(drifted(), error="concept.json cannot be read")),
        "release ReleaseNone - | hold RepoUnreadable - | Unknown Degraded"),
    "a training that is tried again": (
        act(wanted_of("abcd"), V1, space=serving_of(V1), attempts={fingerprint("abcd"): "running"},
            because={fingerprint("abcd"): "tried again at 12:00"}),
        "nothing InSync v1 | nothing TrainingRetried - | OutOfSync Progressing"),
    "a training whose process was lost": (
        act(wanted_of("abcd", suspend=True), V1, space=serving_of(V1), attempts={fingerprint("abcd"): "interrupted"}),
        "hold Suspended v1 | train TrainingInterrupted - | OutOfSync Progressing"),
}
# fmt: on


@pytest.mark.parametrize("world", CASES)
def test_action(world: str) -> None:
    one, expected = CASES[world]
    assert f"{in_words(one.serving)} | {in_words(one.training)} | {one.sync} {one.health}" == expected


def test_training_carries_the_fingerprint_of_what_it_will_make() -> None:
    assert act(wanted_of("abcd"), V1).training.fingerprint == V2.fingerprint
    retraining = act(wanted_of(**EVERY_30_DAYS), V1, space=serving_of(V1), today=date(2026, 12, 3)).training
    assert retraining.retrain == "2026-12-01"
    assert retraining.fingerprint == fingerprint(retrain="2026-12-01")


def test_a_retraining_that_fails_is_tried_twice_again_and_then_when_the_next_one_is_due() -> None:
    day, attempts, failures, tried = date(2026, 12, 1), {}, {}, []
    while day < date(2027, 1, 8):
        world = {"space": serving_of(V1), "attempts": attempts, "failures": failures}
        one = act(wanted_of(**EVERY_30_DAYS), V1, today=day, **world)
        if one.training.retrain:
            tried.append(one.training.retrain)
            attempts[one.training.fingerprint] = "failed"
            failures[one.training.fingerprint] = Failure(day)
        else:
            assert (one.training.reason, one.sync, one.health) == ("RetrainFailed", "Synced", "Healthy")
        day += timedelta(days=1)
    assert tried == ["2026-12-01", "2026-12-02", "2026-12-04", "2026-12-31", "2027-01-01", "2027-01-03"]


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (Failure(date(2026, 12, 31)), "2027-01-01"),
        (Failure(date(2027, 1, 20)), "2027-01-21"),
        (Failure(date(2026, 12, 1), cancelled=True), "2026-12-31"),
        (Failure(date(2050, 1, 1)), "2027-01-21"),
        (Failure(date(2020, 1, 1)), "2026-12-21"),
    ],
    ids=["late", "today", "cancelled", "by a clock that is ahead", "by a clock that is behind"],
)
def test_what_failed_is_not_tried_again_at_once(failure: Failure, again: str) -> None:
    first, today = fingerprint(retrain="2026-12-01"), date(2027, 1, 20)
    world = {"space": serving_of(V1), "attempts": {first: "failed"}, "failures": {first: failure}}
    training = act(wanted_of(**EVERY_30_DAYS), V1, today=today, **world).training
    assert again == (training.retrain or training.cause[-10:])


def test_a_retraining_that_runs_is_the_only_one_even_when_the_next_one_is_due() -> None:
    attempts = {fingerprint(retrain="2026-12-01"): "failed", fingerprint(retrain="2026-12-02"): "running"}
    world = {"space": serving_of(V1), "attempts": attempts, "today": date(2027, 1, 20)}
    training = act(wanted_of(**EVERY_30_DAYS), V1, **world).training
    assert (training.reason, training.fingerprint) == ("TrainingRunning", fingerprint(retrain="2026-12-02"))


def test_a_version_of_the_future_is_not_retrained_and_says_why() -> None:
    training = act(wanted_of(**EVERY_30_DAYS), V1, space=serving_of(V1), today=date(1970, 1, 1)).training
    assert training.reason == "InputsTrained"
    assert "dated 2026-11-01" in training.cause


@pytest.mark.parametrize("before", [{}, {"max_steps": 200}], ids=["left out", "written out"])
@pytest.mark.parametrize("after", [{}, {"max_steps": 200}], ids=["left out", "written out"])
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
@pytest.mark.parametrize("in_full", [True, False], ids=["in full", "a line"])
def test_a_default_written_out_trains_nothing(
    before: dict[str, int], after: dict[str, int], listed: bool, in_full: bool
) -> None:
    base = replace(TINY, defaults={"training.max_steps": 200, "training.flips": False})
    old = version_of(1, spec={"training": before})
    if not in_full:
        old = replace(old, keys=keys_digest(old.spec), spec={key: old.spec[key] for key in ("base_model", "recipe")})
    wanted = wanted_of(training=after)
    wanted = wanted if listed else replace(wanted, images=None)
    one = act(wanted, old, space=serving_of(old), bases={"tiny": base})
    assert (one.training.reason, one.serving.reason, one.sync) == ("InputsTrained", "InSync", "Synced")


def test_a_rejected_retraining_of_a_written_out_default_keeps_the_released_version_healthy() -> None:
    base = replace(TINY, defaults={"training.max_steps": 200})
    first = version_of(1, spec={"training": {"max_steps": 200}})
    second = version_of(2, retrain="2026-12-01", gate="rejected", gate_reason=GateReason.NOT_IMPROVED)
    wanted = wanted_of(training={"max_steps": 200})
    one = act(wanted, first, second, space=serving_of(first), bases={"tiny": base})
    assert (one.serving.reason, one.training.reason, one.health) == ("InSync", "InputsTrained", "Healthy")


def test_renamed_images_are_the_same_images() -> None:
    renamed = tuple(replace(image, relpath=f"new/{image.relpath}") for image in reversed(images_of("abc")))
    wanted = replace(wanted_of(), images=renamed, dvc_md5="0" * 32 + ".dir")
    assert act(wanted, V1, space=serving_of(V1)).sync == "Synced"


def test_writing_the_presets_own_resolution_trains_nothing() -> None:
    assert act(wanted_of(resolution=64), V1, space=serving_of(V1)).sync == "Synced"


def test_latest_does_not_move_the_space_while_a_training_is_outstanding() -> None:
    # Somebody reverted to v1's images, then committed others: v2 must not flash up before v3 is there.
    for state in ("running", "failed"):
        one = act(wanted_of("abcde"), V1, V2, space=serving_of(V1), attempts={V3.fingerprint: state})
        assert one.serving.reason == "InSync"
    waiting = act(replace(wanted_of("abcde"), images=None), V1, V2, space=serving_of(V1))
    assert (waiting.serving.reason, waiting.training.kind) == ("InSync", "wait")


def test_rollback_is_not_stopped_by_a_training_or_by_missing_images() -> None:
    for state in ("running", "failed"):
        one = act(wanted_of("abcde", release="v1"), V1, V2, space=serving_of(V2), attempts={V3.fingerprint: state})
        assert (one.serving.kind, one.serving.cause) == ("release", "v2 -> v1")
    unpushed = replace(wanted_of("abcde", release="v1"), images=None)
    assert act(unpushed, V1, V2, space=serving_of(V2)).serving.kind == "release"


def test_a_plan_says_why_a_training_failed() -> None:
    failed = {"attempts": {fingerprint(): "failed"}, "because": {fingerprint(): "tiny cannot draw photographs"}}
    action = act(wanted_of(), **failed).training
    assert (action.reason, action.health) == ("TrainingFailed", "Degraded")
    assert action.cause.startswith("training failed (tiny cannot draw photographs); see `conceptry")


def test_a_plan_says_what_a_verdict_rests_on_and_how_to_go_on() -> None:
    evidence = Evidence("empty_prompt", 0.08, 0.02, 0.14, 0.05, 0.95)
    cause = act(wanted_of("abcd"), V1, replace(UNDECIDED, evidence=evidence), space=serving_of(V1)).serving.cause
    assert (
        "8.0% lower than with an empty prompt (lower by 2.0% to 14.0% with 95% confidence; more than 5.0% is" in cause
    )
    assert "v1 stays released; add images or hold out more of them, or write `release: v2`" in cause


def test_a_plan_does_not_name_the_losses_where_something_else_decided() -> None:
    evidence = Evidence("initializer", 0.3, 0.2, 0.4, 0.05, 0.95)
    copied = replace(UNDECIDED, gate_reason=GateReason.COPIES, evidence=evidence)
    cause = act(wanted_of("abcd"), V1, copied, space=serving_of(V1)).serving.cause
    assert "nearly equal images that were trained on" in cause
    assert "30.0%" not in cause


@pytest.mark.parametrize("gate", ["rejected", "undecided"])
def test_choose_release(gate: Gate) -> None:
    versions = (V1, V2, version_of(3, gate=gate))
    assert choose_release(spec_of(), versions, V1.inputs) is V1
    assert choose_release(spec_of(), versions, V2.inputs) is V2
    assert choose_release(spec_of(), versions, "unknown") is V2
    assert choose_release(spec_of(), (), V1.inputs) is None
    assert choose_release(spec_of(release="v3"), versions, V1.inputs) is versions[2]
    assert choose_release(spec_of(release="v4"), versions, V1.inputs) is None
    assert choose_release(spec_of(release="none"), versions, V1.inputs) is None


def test_one_bad_concept_does_not_stop_the_others() -> None:
    bad = DesiredConcept("bad", None, SpecError([Problem(1, "", "is not valid YAML")], "x"), None, None)
    concepts = {"bad": bad, "my-cat": wanted_of()}
    live = Live({"gone": LiveConcept("gone", (V1,), serving_of(V1))})
    made = plan(Desired("r1", concepts), live, PlanInputs(BASES, TEMPLATES))
    assert [(one.concept, *(action.kind for action in one.listed)) for one in made.concepts] == [
        ("bad", "hold"),
        ("gone", "archive"),
        ("my-cat", "train"),
    ]
    assert [action.concept for action in made.changes] == ["gone", "my-cat"]


def test_plan_as_json() -> None:
    made = plan(Desired("r1", {"my-cat": wanted_of()}), Live({}), PlanInputs(BASES, TEMPLATES))
    assert json.loads(made.to_json()) == {
        "revision": "r1",
        "concepts": {"my-cat": {"sync": "OutOfSync", "health": "Missing"}},
        "actions": [
            {
                "concept": "my-cat",
                "concern": "training",
                "kind": "train",
                "reason": "FirstVersion",
                "cause": "first version",
                "fingerprint": fingerprint(),
                "version": None,
                "sync": "OutOfSync",
                "health": "Healthy",
                "retrain": None,
            },
            {
                "concept": "my-cat",
                "concern": "serving",
                "kind": "nothing",
                "reason": "AwaitingVersion",
                "cause": "serves nothing until v1 is published",
                "fingerprint": None,
                "version": None,
                "sync": "OutOfSync",
                "health": "Missing",
                "retrain": None,
            },
        ],
    }


def test_a_thousand_concepts() -> None:
    concepts = {f"concept-{number}": replace(wanted_of(), name=f"concept-{number}") for number in range(1000)}
    assert len(plan(Desired("r1", concepts), Live({}), PlanInputs(BASES, TEMPLATES)).changes) == 1000


def test_a_concept_that_cannot_be_planned_is_held_alone_and_still_taken_down(caplog: pytest.LogCaptureFixture) -> None:
    broken = LiveConcept("my-cat", ("no version",), serving_of(version_of(1)))  # type: ignore[arg-type]
    one = act(wanted_of(release="none"), there=broken)
    assert (one.serving.kind, one.serving.reason) == ("release", "ReleaseNone")
    assert (one.training.kind, one.training.reason, one.health) == ("hold", "Unexpected", "Degraded")
    assert "AttributeError" in one.training.cause
    assert "Traceback" in caplog.text
    desired = Desired("r" * 40, {name: replace(wanted_of(), name=name) for name in ("my-cat", "my-dog")})
    inputs = PlanInputs(BASES, TEMPLATES)
    assert pending_trainings(plan(desired, Live({"my-cat": broken}), inputs)) == {"my-dog"}
    assert open_fingerprints(desired, Live({"my-cat": broken}), inputs) == open_fingerprints(
        Desired("r" * 40, {"my-dog": desired.concepts["my-dog"]}), Live({}), inputs
    )
