"""Budget of a month: what counts, who waits first, and when it is free again."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from conceptry.actions import Action
from conceptry.desired import Desired
from conceptry.errors import SpecError
from conceptry.estimate import Rate
from conceptry.fingerprint import training_fingerprint
from conceptry.plan import plan
from conceptry.plan_inputs import PlanInputs
from conceptry.policy import load_policy
from conceptry.reasons import GateReason
from conceptry.retraining import Failure
from conceptry.rollout import Pace, defer_trainings
from conceptry.version import Live, LiveConcept, Version
from tests.support.plan_worlds import BASES, TEMPLATES, TINY, images_of, spec_of, version_of, wanted_of

NOW = datetime(2026, 12, 20, 12, tzinfo=UTC)
HOUR = {"tiny": Rate(step=0, overhead=3600, max_steps=100, batch_size=8, resolution=64, usd_per_hour=2.0)}
EVERY_7_DAYS = {"retrain": {"every_days": 7}}
NAMES = ("aged-owl", "bold-owl", "calm-owl")


def spec(name: str, **changes: Any) -> Any:
    return spec_of(placeholder_token=f"<{name}>", **EVERY_7_DAYS, **changes)


def made(name: str, created: str = "2026-12-02T12:00:00+00:00", **fields: Any) -> Version:
    return version_of(1, spec={"placeholder_token": f"<{name}>"}, **{"seconds": 3600.0, "created": created, **fields})


def trainings(budget: str, *versions: Version, letters: str = "abc", now: datetime = NOW, **known: Any) -> list[Action]:
    """Plan three concepts that are due on 9 December; with other letters the first one was edited."""
    wanted = {name: replace(wanted_of(), name=name, spec=spec(name)) for name in NAMES}
    wanted["aged-owl"] = replace(wanted_of(letters), name="aged-owl", spec=spec("aged-owl"))
    there = versions or tuple(made(name) for name in NAMES)
    live = Live({name: LiveConcept(name, (one,), None) for name, one in zip(NAMES, there, strict=True)})
    inputs = PlanInputs(**{"bases": BASES, "templates": TEMPLATES, "today": now.date(), "rates": HOUR, **known})
    desired, pace = Desired("r" * 40, wanted), Pace(load_policy(f"budget: {budget}\n"), now)
    planned = defer_trainings(plan(desired, live, inputs), desired, live, inputs, pace=pace)
    return [one.training for one in planned.concepts]


def deferrals(*arguments: Any, **known: Any) -> list[str | None]:
    return [action.deferral for action in trainings(*arguments, **known)]


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("{runs: 4}", "4 of 4 runs"),
        ("{gpu_hours: 4.5}", "4 of 4.5 GPU hours (this one takes about 1)"),
        ("{usd: 8}", "8 of 8 USD"),
    ],
)
def test_what_does_not_fit_waits_for_the_next_month(budget: str, words: str) -> None:
    first, second, third = trainings(budget)
    assert (first.deferral, second.deferral, third.deferral) == (None, "BudgetSpent", "BudgetSpent")
    assert second.deferred == f"the budget of December 2026 is spent: {words}; free again 2027-01-01 00:00 UTC"
    assert deferrals(budget, now=datetime(2027, 1, 1, tzinfo=UTC)) == [None, None, None]


def test_without_a_limit_nothing_waits() -> None:
    assert deferrals("{}") == [None, None, None]
    assert deferrals("{usd: 1000}") == [None, None, None]


def test_an_edit_waits_only_when_the_budget_is_used_up() -> None:
    assert deferrals("{gpu_hours: 3.5}", letters="abcd") == [None, "BudgetSpent", "BudgetSpent"]
    assert deferrals("{gpu_hours: 3}", letters="abcd") == ["BudgetSpent"] * 3


def test_last_months_and_imported_versions_do_not_count() -> None:
    old = [made(name, "2026-11-30T23:59:59+00:00") for name in NAMES]
    assert deferrals("{runs: 3}", *old) == [None, None, None]
    imported = [made(name, gate_reason=GateReason.IMPORTED) for name in NAMES]
    assert deferrals("{runs: 3}", *imported) == [None, None, None]


def test_runs_that_are_active_or_failed_count() -> None:
    running = training_fingerprint(spec("aged-owl"), images_of("abc"), TINY, "2026-12-09")
    active, *others = trainings("{gpu_hours: 5}", attempts={running: "running"})
    assert (active.reason, [one.deferral for one in others]) == ("TrainingRunning", [None, "BudgetSpent"])
    failed = {"f" * 64: Failure(NOW.date(), seconds=7200)}
    assert deferrals("{gpu_hours: 5.9}", failures=failed) == ["BudgetSpent"] * 3
    assert deferrals("{usd: 12}", failures=failed) == [None, "BudgetSpent", "BudgetSpent"]


def test_a_version_of_unknown_duration_counts_by_its_rate() -> None:
    short = [made(name, seconds=None) for name in NAMES]
    assert deferrals("{gpu_hours: 4}", *short) == [None, "BudgetSpent", "BudgetSpent"]


def test_a_version_of_a_base_model_that_no_concept_names_now_counts_by_the_highest_rate() -> None:
    versions = [made(name) for name in NAMES]
    versions[0] = replace(versions[0], spec={**versions[0].spec, "base_model": "gone"})
    assert deferrals("{usd: 6}", *versions) == ["BudgetSpent"] * 3


@pytest.mark.parametrize("budget", ["{runs: 0}", "{usd: -1}", "{gpu_hours: many}", "{euros: 5}"])
def test_mistakes_are_told(budget: str) -> None:
    with pytest.raises(SpecError):
        load_policy(f"budget: {budget}\n")
