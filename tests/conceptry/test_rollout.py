"""Which trainings start now: hours, canary, failures, places."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from conceptry.actions import Attempt, Plan
from conceptry.concept import BaseModel
from conceptry.desired import Desired, DesiredConcept
from conceptry.errors import SpecError
from conceptry.fingerprint import training_fingerprint
from conceptry.plan import plan
from conceptry.plan_inputs import PlanInputs
from conceptry.policy import Policy, Window, load_policy
from conceptry.reasons import GateReason
from conceptry.rollout import Pace, defer_trainings
from conceptry.version import Live, LiveConcept, Version
from tests.support.plan_worlds import TEMPLATES, TINY, images_of, serving_of, spec_of, version_of, wanted_of

NEW = replace(TINY, recipe=2)
NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")
MONDAY_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Registry:
    """Six concepts that were all trained with recipe 1, while the trainer is at recipe 2."""

    def __init__(self) -> None:
        self.versions: dict[str, tuple[Version, ...]] = {name: (version_of(1),) for name in NAMES}
        self.attempts: dict[str, Attempt] = {}
        self.wanted: dict[str, DesiredConcept] = {name: self.concept(name) for name in NAMES}

    def concept(self, name: str) -> DesiredConcept:
        return replace(wanted_of(), name=name, spec=spec_of(placeholder_token=f"<{name}>"))

    def fingerprint(self, name: str, base: BaseModel = NEW) -> str:
        spec = self.wanted[name].spec
        assert spec is not None
        return training_fingerprint(spec, images_of("abc"), base)

    def trained(self, name: str, gate: str = "passed", gate_reason: GateReason | None = None) -> None:
        fingerprint = self.fingerprint(name)
        made = version_of(2, base=NEW, gate=gate, gate_reason=gate_reason, fingerprint=fingerprint, inputs=fingerprint)
        self.versions[name] = (*self.versions[name], made)

    def plan(self, policy: Policy | None = None, **how: Any) -> Plan:
        desired = Desired("r" * 40, self.wanted)
        spaces = {name: serving_of(made[-1], placeholder_token=f"<{name}>") for name, made in self.versions.items()}
        live = Live({name: LiveConcept(name, made, spaces[name]) for name, made in self.versions.items()})
        inputs = PlanInputs({"tiny": NEW}, TEMPLATES, attempts=self.attempts)
        pace = Pace(**{"policy": policy or Policy(), "now": MONDAY_NOON, **how})
        return defer_trainings(plan(desired, live, inputs), desired, live, inputs, pace=pace)

    def starts(self, policy: Policy | None = None, **how: Any) -> list[str]:
        return [action.concept for action in self.plan(policy, **how).due if action.kind == "train"]


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_one_goes_first_and_the_others_follow_when_it_passed(registry: Registry) -> None:
    assert registry.starts() == ["ant"]
    held = {action.concept: (action.deferral, action.deferred) for action in registry.plan().changes}
    assert held["bee"] == ("CanaryFirst", "the canary ant is trained first with tiny recipe 2")
    assert len(registry.plan().changes) == 6, "they are still to be done"
    registry.attempts = {registry.fingerprint("ant"): "running"}
    assert registry.starts() == [], "one that runs is the canary"
    registry.attempts = {}
    registry.trained("ant")
    assert registry.starts() == ["bee", "cat", "dog", "eel", "fox"]


def test_the_canary_can_be_named(registry: Registry) -> None:
    assert registry.starts(Policy(canary="dog")) == ["dog"]
    assert registry.starts(Policy(canary="no-such-one")) == ["ant"]


@pytest.mark.parametrize("how", ["failed", "rejected"])
def test_nobody_follows_a_canary_that_went_wrong(registry: Registry, how: str) -> None:
    if how == "failed":
        registry.attempts = {registry.fingerprint("ant"): "failed"}
    else:
        registry.trained("ant", gate="rejected")
    assert registry.starts() == []
    assert "CanaryFailed" in {action.deferral for action in registry.plan().actions}


@pytest.mark.parametrize("reason", [GateReason.NOT_BETTER_THAN_RELEASED, GateReason.UNCLEAR_AGAINST_RELEASED])
def test_a_canary_that_is_only_no_better_than_before_shows_that_the_recipe_works(
    registry: Registry, reason: GateReason
) -> None:
    registry.trained("ant", gate="rejected", gate_reason=reason)
    assert registry.starts() == ["bee", "cat", "dog", "eel", "fox"]


def test_another_concept_becomes_the_canary_when_the_gate_could_not_decide(registry: Registry) -> None:
    registry.trained("ant", gate="undecided", gate_reason=GateReason.NOTHING_HELD_OUT)
    assert registry.starts() == ["bee"]


def test_it_stops_when_too_many_go_wrong(registry: Registry) -> None:
    registry.trained("ant")
    registry.trained("bee", gate="rejected")
    assert registry.starts() == ["cat", "dog", "eel", "fox"], "one is not many"
    registry.attempts = {registry.fingerprint("cat"): "failed"}
    assert registry.starts() == []
    stopped = next(action for action in registry.plan().actions if action.deferral == "RolloutStopped")
    assert "2 of 3 failed" in str(stopped.deferred)
    assert registry.starts(Policy(max_failures=0.7)) == ["dog", "eel", "fox"]


def test_what_people_ask_for_does_not_wait_for_a_rollout(registry: Registry) -> None:
    registry.wanted["new"] = registry.concept("new")
    assert registry.starts() == ["ant", "new"]
    assert registry.starts(places=1) == ["new"], "it goes ahead"
    registry.attempts = {registry.fingerprint("new"): "running"}
    assert registry.starts(places=1) == []


def test_a_few_at_a_time(registry: Registry) -> None:
    registry.trained("ant")
    registry.attempts = {registry.fingerprint("bee"): "running"}
    assert registry.starts(places=3) == ["cat", "dog"]
    waiting = {action.deferral for action in registry.plan(places=3).changes if action.concept == "eel"}
    assert waiting == {"NoFreePlace"}


def test_nothing_is_trained_while_the_policy_says_so_or_is_broken(registry: Registry) -> None:
    assert registry.starts(Policy(suspend=True)) == []
    assert registry.starts(policy_error="conceptry.yaml:1: unknown key") == []


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        ({"start": "20:00", "end": "06:00"}, "2026-11-23T12:00+00:00", "2026-11-23T20:00+00:00"),
        ({"start": "20:00", "end": "06:00"}, "2026-11-23T23:00+00:00", None),
        ({"start": "20:00", "end": "06:00"}, "2026-11-24T05:59+00:00", None),
        ({"start": "20:00", "end": "06:00"}, "2026-11-24T06:00+00:00", "2026-11-24T20:00+00:00"),
        ({"days": ["sat", "sun"]}, "2026-11-23T12:00+00:00", "2026-11-28T00:00+00:00"),
        ({"days": ["sat", "sun"]}, "2026-11-29T23:59+00:00", None),
        ({"days": ["sun"], "start": "22:00", "end": "02:00"}, "2026-11-30T01:00+00:00", None),
        (
            {"start": "20:00", "end": "23:00", "timezone": "Europe/Berlin"},
            "2026-11-23T18:59+00:00",
            "2026-11-23T19:00+00:00",
        ),
        ({"start": "20:00", "end": "23:00", "timezone": "Europe/Berlin"}, "2026-11-23T19:00+00:00", None),
    ],
)
def test_windows(registry: Registry, window: dict[str, Any], now: str, opens: str | None) -> None:
    span, moment = Window.model_validate(window), datetime.fromisoformat(now)
    assert span.is_open(moment) == (opens is None)
    started = registry.starts(Policy(windows=[span]), now=moment)
    assert started == (["ant"] if opens is None else [])
    if opens:
        assert span.opens(moment) == datetime.fromisoformat(opens)


def test_all_mistakes_of_the_file_at_once() -> None:
    assert load_policy(None) == Policy()
    with pytest.raises(SpecError) as caught:
        load_policy("suspended: true\nwindows:\n- start: '25:00'\n  timezone: Mars\nmax_failures: 2\n")
    message = str(caught.value)
    assert all(
        word in message for word in ("did you mean suspend?", "25:00", "Mars", "max_failures", "conceptry.yaml:")
    )
