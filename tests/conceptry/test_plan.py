"""Every action of the plan and every cause, in the words that people read."""

import json
from dataclasses import replace
from datetime import date

import pytest

from conceptry.concept import Desired, DesiredConcept, ImageRef
from conceptry.errors import Problem, SpecError
from conceptry.fingerprint import training_fingerprint
from conceptry.plan import Action, choose_release, plan
from conceptry.version import Actual, ActualConcept, MainState, SpaceState
from tests.conceptry.worlds import (
    BASES,
    TEMPLATES,
    TINY,
    act,
    dvc_of,
    images_of,
    serving_of,
    spec_of,
    version_of,
    wanted_of,
)

V1, V2, V3 = version_of(1), version_of(2, "abcd"), version_of(3, "abcde")
REJECTED = version_of(2, "abcd", gate="rejected")
EVERY_30_DAYS = {"retrain": {"every_days": 30}}
RETRAINED = version_of(2, retrain="2026-12-01", created="2026-12-03T00:00:00Z")
STEPS = {"training": {"max_steps": 3000}}
TITLE = {"space": {"title": "My cat"}}


def drifted(*drift: str) -> ActualConcept:
    """The concept with v1 served, and what somebody changed by hand."""
    return ActualConcept("my-cat", (V1,), serving_of(V1), drift=drift)


def fingerprint(letters: str = "abc", retrain: str | None = None, **changes: object) -> str:
    return training_fingerprint(spec_of(**changes), images_of(letters), TINY, retrain)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        # train
        (act(wanted_of()), ("train", "first version", None, "OutOfSync", "Missing")),
        (
            act(wanted_of("acde"), V1, space=serving_of(V1)),
            ("train", "images +2 -1", None, "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of("abcd"), V1, space=serving_of(V1)),
            ("train", "images +1", None, "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of("ab", **STEPS), V1, space=serving_of(V1)),
            ("train", "images -1, training.max_steps default -> 3000", None, "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of(training={"early_stopping": False}), V1, space=serving_of(V1)),
            ("train", "training.early_stopping true -> false", None, "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of(), V1, space=serving_of(V1), bases={"tiny": replace(TINY, recipe=4)}),
            ("train", "recipe 1 -> 4", None, "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of(), V1, space=serving_of(V1), bases={"tiny": replace(TINY, digest="9" * 64)}),
            ("train", "weights of tiny", None, "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of(base_model="sd-v1-4"), V1, space=serving_of(V1)),
            ("train", "resolution 64 -> 512, base_model tiny -> sd-v1-4", None, "OutOfSync", "Healthy"),
        ),
        (
            act(replace(wanted_of(), images=(*images_of("abc"), ImageRef("a.txt", "0" * 32))), V1),
            ("train", "captions of 1 image", None, "OutOfSync", "Missing"),
        ),
        (
            act(wanted_of("abcd"), replace(V1, images=(), spec={})),
            ("train", "images +4", None, "OutOfSync", "Missing"),
        ),
        (
            act(wanted_of(**STEPS), replace(V1, spec={})),
            ("train", "inputs differ from v1's", None, "OutOfSync", "Missing"),
        ),
        (
            act(wanted_of(**EVERY_30_DAYS), V1, space=serving_of(V1), today=date(2026, 12, 3)),
            ("train", "scheduled (32 days since v1)", None, "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of(release="v1"), space=None),
            ("train", "first version", None, "OutOfSync", "Missing"),
        ),
        # release
        (
            act(wanted_of("abcd", release="v1"), V1, V2, space=serving_of(V2)),
            ("release", "v2 -> v1", "v1", "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of("abcd", release="v2"), V1, REJECTED, space=serving_of(V1)),
            ("release", "v1 -> v2", "v2", "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of("abcd"), V1, V2, space=SpaceState(None, None, paused=True)),
            ("release", "none -> v2", "v2", "OutOfSync", "Missing"),
        ),
        (
            act(wanted_of(release="none"), V1, space=serving_of(V1)),
            ("release", "v1 -> none", None, "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of(**EVERY_30_DAYS), V1, RETRAINED, space=serving_of(V1)),
            ("release", "v1 -> v2", "v2", "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of(), V1, space=SpaceState("v9", "x=1")),
            ("release", "v9 -> v1", "v1", "OutOfSync", "Healthy"),
        ),
        # adopt
        (
            act(wanted_of("abc"), V1, V2, space=serving_of(V2)),
            ("adopt", "v2 -> v1, already made of these inputs", "v1", "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of("abcd"), V1, V2, space=serving_of(V1)),
            ("adopt", "v1 -> v2, already made of these inputs", "v2", "OutOfSync", "Healthy"),
        ),
        (
            act(
                replace(wanted_of("abc"), missing=images_of("a")),
                V1,
                V2,
                space=serving_of(V2),
            ),
            ("adopt", "v2 -> v1, already made of these inputs", "v1", "OutOfSync", "Healthy"),
        ),
        (
            act(replace(wanted_of("abc"), images=None), V1, V2, space=serving_of(V2)),
            ("adopt", "v2 -> v1, already made of these inputs", "v1", "OutOfSync", "Healthy"),
        ),
        # render
        (
            act(wanted_of(**TITLE), V1, space=serving_of(V1)),
            ("render", "title", "v1", "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of(space={"emoji": "🐈", "hardware": "t4-small"}), V1, space=serving_of(V1)),
            ("render", "emoji, hardware", "v1", "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of(), V1, space=serving_of(V1, templates="older")),
            ("render", "templates", "v1", "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of("abcd", **TITLE), V1, space=serving_of(V1), attempts={fingerprint("abcd"): "running"}),
            ("render", "title", "v1", "OutOfSync", "Healthy"),
        ),
        # wait
        (
            act(replace(wanted_of(), images=None)),
            (
                "wait",
                f"the images ({dvc_of('abc')}) are in git but not in the DVC remote: run `dvc push`",
                None,
                "OutOfSync",
                "Missing",
            ),
        ),
        (
            act(replace(wanted_of("abcdefg"), missing=images_of("defg")), V1, space=serving_of(V1)),
            (
                "wait",
                "4 of 7 images are not in the DVC remote (d.jpg, e.jpg, f.jpg, ...): run `dvc push`",
                None,
                "OutOfSync",
                "Healthy",
            ),
        ),
        # hold
        (
            act(wanted_of(suspend=True), V1, space=serving_of(V1)),
            ("hold", "suspended", "v1", "Synced", "Suspended"),
        ),
        (
            act(wanted_of("abcd", suspend=True), V1, space=serving_of(V1)),
            ("hold", "suspended; would train: images +1", None, "OutOfSync", "Suspended"),
        ),
        (
            act(wanted_of("abcd"), V1, space=serving_of(V1), attempts={fingerprint("abcd"): "failed"}),
            (
                "hold",
                "training failed (images +1); change the inputs, or `conceptry train my-cat` to retry",
                None,
                "OutOfSync",
                "Degraded",
            ),
        ),
        (
            act(wanted_of(), attempts={fingerprint(): "failed"}),
            (
                "hold",
                "training failed (first version); change the inputs, or `conceptry train my-cat` to retry",
                None,
                "OutOfSync",
                "Degraded",
            ),
        ),
        (
            act(DesiredConcept("my-cat", None, SpecError([Problem(4, "release", "'x'")] * 2, "c.yaml"), None, None)),
            ("hold", "c.yaml:4: release: 'x'; c.yaml:4: release: 'x'", None, "Unknown", "Degraded"),
        ),
        (
            act(wanted_of(base_model="sd-v1-4"), bases={"tiny": TINY}),
            ("hold", "base model sd-v1-4 is not available here; there are: tiny", None, "Unknown", "Degraded"),
        ),
        (
            act(wanted_of("")),
            (
                "hold",
                "the images folder holds no picture; add some, then `dvc add` and `dvc push` them",
                None,
                "OutOfSync",
                "Degraded",
            ),
        ),
        (
            act(wanted_of("abcd"), V1, REJECTED, space=serving_of(V1)),
            (
                "hold",
                "v2 did not pass its gate, v1 stays released; change the inputs, or release it by name",
                "v1",
                "Synced",
                "Degraded",
            ),
        ),
        (
            act(wanted_of("abcd"), REJECTED),
            (
                "hold",
                "v2 did not pass its gate, nothing is released; change the inputs, or release it by name",
                None,
                "Synced",
                "Degraded",
            ),
        ),
        (
            act(wanted_of(release="v7"), V1, space=serving_of(V1)),
            ("hold", "release: v7 is not published; there are: v1", None, "OutOfSync", "Degraded"),
        ),
        # archive
        (
            act(None, V1, space=serving_of(V1)),
            ("archive", "no longer in git: its Space is paused, its versions stay", None, "OutOfSync", "Healthy"),
        ),
        # repair
        (
            act(wanted_of(), V1),
            ("repair", "the Space is missing", "v1", "OutOfSync", "Missing"),
        ),
        (
            act(wanted_of(), V1, space=replace(serving_of(V1), paused=True)),
            ("repair", "the Space is paused", "v1", "OutOfSync", "Degraded"),
        ),
        (
            act(wanted_of(), V1, space=SpaceState("v1", None)),
            ("repair", "the Space does not say what it is rendered from", "v1", "OutOfSync", "Degraded"),
        ),
        (
            act(wanted_of(), V1, space=SpaceState("v1", "edited by hand")),
            ("repair", "the Space does not say what it is rendered from", "v1", "OutOfSync", "Degraded"),
        ),
        (
            act(wanted_of(), there=drifted("the branch v1 is gone", "the tag fp-1 is gone")),
            ("repair", "the branch v1 is gone; the tag fp-1 is gone", "v1", "OutOfSync", "Degraded"),
        ),
        (
            act(wanted_of("abcd"), there=drifted("the branch v1 is gone")),
            ("repair", "the branch v1 is gone", "v1", "OutOfSync", "Degraded"),
        ),
        (
            act(wanted_of(), there=replace(drifted(), main=MainState("v9"))),
            ("repair", "the card on main describes v9 instead of v1", "v1", "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of(), there=replace(drifted(), main=MainState(None))),
            ("repair", "the card on main describes no version instead of v1", "v1", "OutOfSync", "Healthy"),
        ),
        (
            act(wanted_of(release="none"), there=replace(drifted(), space=None, main=MainState("v1"))),
            ("repair", "the card on main describes v1 instead of none", None, "OutOfSync", "Missing"),
        ),
        # what cannot be looked at
        (
            act(wanted_of(), there=replace(drifted(), trouble="concept.json cannot be read")),
            ("hold", "concept.json cannot be read", None, "Unknown", "Degraded"),
        ),
        (
            act(replace(wanted_of("abcd"), images=None, trouble="no answer"), V1, space=serving_of(V1)),
            ("wait", "the DVC remote could not be asked: no answer", None, "OutOfSync", "Healthy"),
        ),
        (
            act(replace(wanted_of("abc"), images=None, trouble="no answer"), V1, V2, space=serving_of(V2)),
            ("adopt", "v2 -> v1, already made of these inputs", "v1", "OutOfSync", "Healthy"),
        ),
        # nothing
        (
            act(wanted_of(), V1, space=serving_of(V1)),
            ("nothing", "in sync", "v1", "Synced", "Healthy"),
        ),
        (
            act(wanted_of(), there=replace(drifted(), main=MainState("v1"))),
            ("nothing", "in sync", "v1", "Synced", "Healthy"),
        ),
        (
            act(wanted_of(), there=drifted("the branch v1 is gone"), attempts={V1.fingerprint: "running"}),
            ("nothing", "v1 is published, its run is at the Space", None, "OutOfSync", "Progressing"),
        ),
        (
            act(wanted_of(release="none"), V1, space=SpaceState(None, None, paused=True)),
            ("nothing", "nothing is released", None, "Synced", "Suspended"),
        ),
        (
            act(wanted_of(release="none"), V1),
            ("nothing", "nothing is released", None, "Synced", "Suspended"),
        ),
        (
            act(wanted_of("abcd"), V1, space=serving_of(V1), attempts={fingerprint("abcd"): "running"}),
            ("nothing", "is being trained: images +1", None, "OutOfSync", "Progressing"),
        ),
        (
            act(wanted_of("abcd"), V1, V2, space=serving_of(V1), attempts={V2.fingerprint: "running"}),
            ("nothing", "v2 is published, its run is at the Space", None, "OutOfSync", "Progressing"),
        ),
        (
            act(wanted_of(**EVERY_30_DAYS), V1, space=serving_of(V1), today=date(2026, 11, 30)),
            ("nothing", "in sync", "v1", "Synced", "Healthy"),
        ),
        (
            act(wanted_of(**EVERY_30_DAYS), V1, space=serving_of(V1)),
            ("nothing", "in sync", "v1", "Synced", "Healthy"),
        ),
        (
            act(wanted_of(**EVERY_30_DAYS), V1, RETRAINED, space=serving_of(RETRAINED), today=date(2026, 12, 30)),
            ("nothing", "in sync", "v2", "Synced", "Healthy"),
        ),
        (
            act(wanted_of(release="v1", **EVERY_30_DAYS), V1, space=serving_of(V1), today=date(2027, 11, 30)),
            ("nothing", "in sync", "v1", "Synced", "Healthy"),
        ),
        (
            act(wanted_of("abc", gate={"min_improvement": 0.9}), V1, space=serving_of(V1)),
            ("nothing", "in sync", "v1", "Synced", "Healthy"),
        ),
        (
            act(None, V1, space=replace(serving_of(V1), paused=True)),
            ("nothing", "archived", None, "Synced", "Suspended"),
        ),
        (
            act(None, V1, space=SpaceState(None, None)),
            ("nothing", "archived", None, "Synced", "Suspended"),
        ),
        (act(None, V1), ("nothing", "archived", None, "Synced", "Suspended")),
    ],
    ids=lambda value: f"{value[0]}-{value[1][:40]}" if isinstance(value, tuple) else "",
)
def test_action_and_cause(action: Action, expected: tuple[str, str, str | None, str, str]) -> None:
    assert (action.kind, action.cause, action.version, action.sync, action.health) == expected


def test_training_carries_the_fingerprint_of_what_it_will_make() -> None:
    assert act(wanted_of("abcd"), V1).fingerprint == V2.fingerprint
    retraining = act(wanted_of(**EVERY_30_DAYS), V1, space=serving_of(V1), today=date(2026, 12, 3))
    assert retraining.retrain == "2026-12-01"
    assert retraining.fingerprint == fingerprint(retrain="2026-12-01")


def test_scheduled_retraining_that_fails_is_one_attempt_not_one_a_day() -> None:
    world = {"space": serving_of(V1), "attempts": {fingerprint(retrain="2026-12-01"): "failed"}}
    for day in (date(2026, 12, 3), date(2026, 12, 4), date(2027, 3, 1)):
        assert act(wanted_of(**EVERY_30_DAYS), V1, today=day, **world).kind == "hold"


def test_renamed_images_are_the_same_images() -> None:
    renamed = tuple(replace(image, relpath=f"new/{image.relpath}") for image in reversed(images_of("abc")))
    wanted = replace(wanted_of(), images=renamed, dvc_md5="0" * 32 + ".dir")
    assert act(wanted, V1, space=serving_of(V1)).kind == "nothing"


def test_writing_the_presets_own_resolution_trains_nothing() -> None:
    assert act(wanted_of(resolution=64), V1, space=serving_of(V1)).kind == "nothing"


def test_latest_does_not_move_the_space_while_a_training_is_outstanding() -> None:
    # Somebody reverted to v1's images, then committed others: v2 must not flash up before v3 is there.
    for state in ("running", "failed"):
        action = act(wanted_of("abcde"), V1, V2, space=serving_of(V1), attempts={V3.fingerprint: state})
        assert action.kind in ("nothing", "hold")
    waiting = act(replace(wanted_of("abcde"), images=None), V1, V2, space=serving_of(V1))
    assert waiting.kind == "wait"


def test_rollback_is_not_stopped_by_a_training_or_by_missing_images() -> None:
    for state in ("running", "failed"):
        action = act(wanted_of("abcde", release="v1"), V1, V2, space=serving_of(V2), attempts={V3.fingerprint: state})
        assert (action.kind, action.cause) == ("release", "v2 -> v1")
    unpushed = replace(wanted_of("abcde", release="v1"), images=None)
    assert act(unpushed, V1, V2, space=serving_of(V2)).kind == "release"


def test_choose_release() -> None:
    versions = (V1, V2, version_of(3, gate="rejected"))
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
    actual = Actual({"gone": ActualConcept("gone", (V1,), serving_of(V1))})
    made = plan(Desired("r1", concepts), actual, bases=BASES, templates=TEMPLATES)
    assert [(action.concept, action.kind) for action in made.actions] == [
        ("bad", "hold"),
        ("gone", "archive"),
        ("my-cat", "train"),
    ]
    assert [action.concept for action in made.changes] == ["gone", "my-cat"]


def test_plan_as_json() -> None:
    made = plan(Desired("r1", {"my-cat": wanted_of()}), Actual({}), bases=BASES, templates=TEMPLATES)
    assert json.loads(made.to_json()) == {
        "revision": "r1",
        "actions": [
            {
                "concept": "my-cat",
                "kind": "train",
                "cause": "first version",
                "fingerprint": fingerprint(),
                "version": None,
                "sync": "OutOfSync",
                "health": "Missing",
                "retrain": None,
            }
        ],
    }


def test_a_thousand_concepts() -> None:
    concepts = {f"concept-{number}": replace(wanted_of(), name=f"concept-{number}") for number in range(1000)}
    assert len(plan(Desired("r1", concepts), Actual({}), bases=BASES, templates=TEMPLATES).changes) == 1000
