"""A changed gate judges published versions again: which ones, when, and what is released then."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptry.actions import Plan
from conceptry.desired import Desired
from conceptry.guards import confirmed, guard_served
from conceptry.judgement import NEWEST
from conceptry.plan import pending_judgements, plan
from conceptry.plan_inputs import PlanInputs
from conceptry.policy import Guards
from conceptry.version import Live, LiveConcept, MainState, SpaceState, Thresholds, Version
from tests.support.plan_worlds import BASES, TEMPLATES, TINY, act, serving_of, version_of, wanted_of

OLD, NEW = Thresholds(0.0, 0.95), Thresholds(0.5, 0.95)
STRICT = {"gate": {"min_improvement": 0.5}}
V1 = version_of(1, judged=OLD)
FAILED = version_of(2, "abcd", gate="rejected", judged=OLD)


def there(versions: Sequence[Version], space: SpaceState | None = None) -> LiveConcept:
    return LiveConcept("my-cat", tuple(versions), space, MainState(space.release if space else None))


def to_judge(live: LiveConcept, **spec: Any) -> list[int]:
    inputs = PlanInputs(BASES, TEMPLATES)
    return sorted(pending_judgements(wanted_of(**spec), live, inputs))


def test_a_changed_gate_judges_before_anything_is_released() -> None:
    one = act(wanted_of("abcd", **STRICT), V1, FAILED, space=serving_of(V1))
    assert (one.serving.kind, one.serving.reason, one.serving.version) == ("judge", "GateChanged", "v1")
    assert one.serving.cause == "gate.min_improvement 0 -> 0.5: judges v1, v2 by the recorded metrics"
    assert (one.training.kind, one.sync) == ("nothing", "OutOfSync"), "no training is needed"
    judged = [replace(version, judged=NEW) for version in (V1, FAILED)]
    passed = act(wanted_of("abcd", **STRICT), judged[0], replace(judged[1], gate="passed"), space=serving_of(V1))
    assert (passed.serving.kind, passed.serving.version) == ("adopt", "v2"), "the newest that passes is released"


def test_a_changed_default_of_the_base_model_judges_what_was_trained_on_it() -> None:
    bases = {"tiny": replace(TINY, min_improvement=0.04)}
    assert act(wanted_of(), V1, space=serving_of(V1), bases=bases).serving.reason == "GateChanged"
    own = {"gate": {"min_improvement": 0.0}}
    assert act(wanted_of(**own), V1, space=serving_of(V1), bases=bases).serving.reason == "InSync"
    other = act(wanted_of(base_model="sd-v1-4"), V1, space=serving_of(V1), bases={**BASES, **bases}).serving
    assert other.reason == "GateChanged", "its version was trained on tiny"


@pytest.mark.parametrize("gate", [{"confidence": 0.8}, {"min_clip_gain": 1.0}, {"min_improvement": 0.01}])
def test_every_threshold_counts(gate: dict[str, float]) -> None:
    serving = act(wanted_of(gate=gate), V1, space=serving_of(V1)).serving
    ((key, value),) = gate.items()
    assert f"gate.{key} " in serving.cause
    assert f" -> {value:g}" in serving.cause


def test_a_version_without_thresholds_or_without_its_base_model_is_never_judged_again() -> None:
    assert act(wanted_of(**STRICT), version_of(1), space=serving_of(version_of(1))).serving.reason == "InSync"
    elsewhere = replace(V1, spec={**V1.spec, "base_model": "gone"})
    assert to_judge(there([elsewhere]), **STRICT) == []


def test_the_newest_are_judged_and_the_served_one() -> None:
    versions = [version_of(number, "abcd", gate="rejected", judged=OLD) for number in range(1, 40)]
    served = there(versions, serving_of(versions[2]))
    assert to_judge(served, **STRICT) == [3, *range(40 - NEWEST, 40)]
    ours = [version_of(number, judged=OLD) if number < 15 else one for number, one in enumerate(versions, start=1)]
    assert to_judge(there(ours), **STRICT) == [*range(15 - NEWEST, 15), *range(40 - NEWEST, 40)], "today's inputs too"


def test_a_pinned_release_does_not_wait_for_a_judgement_and_a_suspended_concept_is_not_judged() -> None:
    pinned = act(wanted_of(release="v2", **STRICT), V1, FAILED, space=serving_of(V1)).serving
    assert pinned.reason == "ReleasePinned"
    assert act(wanted_of(release="v2", **STRICT), V1, FAILED, space=serving_of(FAILED)).serving.kind == "judge"
    assert act(wanted_of(suspend=True, **STRICT), V1, space=serving_of(V1)).serving.reason == "Suspended"
    running = act(wanted_of(**STRICT), V1, space=None, attempts={V1.fingerprint: "running"}).serving
    assert running.reason == "ReleaseRunning", "its run writes to the repo"


def test_what_is_served_and_passes_no_longer_stays_until_another_passes() -> None:
    failed = replace(V1, gate="rejected", judged=NEW)
    serving = act(wanted_of(**STRICT), failed, space=serving_of(failed)).serving
    assert (serving.kind, serving.reason, serving.version, serving.health) == ("hold", "GateRejected", "v1", "Degraded")
    assert "it stays released until another version passes" in serving.cause
    titled = act(wanted_of(space={"title": "My cat"}, **STRICT), failed, space=serving_of(failed)).serving
    assert (titled.kind, titled.version) == ("render", "v1")
    paused = act(wanted_of(**STRICT), failed, space=SpaceState(None, None, paused=True)).serving
    assert (paused.kind, paused.version) == ("hold", None), "what was taken down stays down"
    older = act(wanted_of(**STRICT), replace(V1, judged=NEW), replace(FAILED, judged=NEW), space=serving_of(FAILED))
    assert (older.serving.kind, older.serving.version) == ("adopt", "v1")


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=35), st.integers(1, 35))
def test_judging_ends_and_the_newest_that_passes_is_released(
    histories: list[tuple[bool, bool, bool]], served: int
) -> None:
    """Each version is of today's inputs or not, passed when it was published or not, and passes the new gate or not."""
    versions = [
        version_of(number, "abc" if own else "ab", gate="passed" if before else "rejected", judged=OLD)
        for number, (own, before, _) in enumerate(histories, start=1)
    ]
    space = serving_of(versions[min(served, len(versions)) - 1], **STRICT)
    kinds = []
    for _ in range(len(versions) + 2):
        live = there(versions, space)
        action = act(wanted_of("abc", **STRICT), there=live).serving
        if action.kind != "judge":
            break
        kinds.append(action.kind)
        gates = pending_judgements(wanted_of("abc", **STRICT), live, PlanInputs(BASES, TEMPLATES))
        assert 0 < len(gates) <= 4 * NEWEST + 1
        for number, gate in gates.items():
            verdict = "passed" if histories[number - 1][2] else "rejected"
            versions[number - 1] = replace(versions[number - 1], gate=verdict, judged=gate)
    else:
        raise AssertionError("judging does not end")
    release = next((version for version in versions if version.name == action.version), None)
    if release is not None and release.gate == "passed":
        assert histories[release.number - 1][2], "it passes the gate in git"
    if len(versions) <= NEWEST and any(own for own, _, _ in histories):
        passing = [version for version, (_, _, passes) in zip(versions, histories, strict=True) if passes]
        ours = [version for version in passing if version.inputs == version_of(1, "abc").inputs] or passing
        assert release is None or not ours or release == ours[-1]


def registry(judged: int, passing: int) -> tuple[Plan, Live]:
    """Ten concepts that serve v1: of some a changed gate judges v2, others have a v2 that passes it."""
    wanted, concepts = {}, {}
    for number in range(10):
        name = f"concept-{number}"
        newer = version_of(2, "abcd", judged=OLD if number < judged else NEW)
        if number >= judged + passing:
            newer = replace(newer, gate="rejected")
        wanted[name] = replace(wanted_of("abcd", **STRICT), name=name)
        concepts[name] = LiveConcept(name, (replace(V1, judged=NEW), newer), serving_of(V1), MainState("v1"))
    live = Live(concepts)
    return plan(Desired("r" * 40, wanted), live, PlanInputs(BASES, TEMPLATES)), live


def test_a_gate_that_changes_many_releases_needs_a_yes_however_long_judging_takes() -> None:
    for judged, passing, released in ((0, 4, 0), (3, 1, 0), (2, 1, 1), (0, 3, 3)):
        made = guard_served(*registry(judged, passing), Guards())
        assert [action.kind for action in made.due].count("adopt") == released
        assert [action.kind for action in made.due].count("judge") == judged, "verdicts take nothing down"
        assert [action.kind for action in confirmed(made).due].count("adopt") == passing
