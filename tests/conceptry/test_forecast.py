"""Forecast: what starts when, by places, windows and the budget, and what is running already."""

from dataclasses import replace
from datetime import UTC, date, datetime

from conceptry.actions import Attempt
from conceptry.desired import Desired
from conceptry.estimate import Rate
from conceptry.fingerprint import training_fingerprint
from conceptry.forecast import Forecast, Simulation
from conceptry.plan_inputs import PlanInputs
from conceptry.policy import load_policy
from conceptry.rollout import Pace
from conceptry.version import Live, LiveConcept
from tests.support.plan_worlds import BASES, TEMPLATES, TINY, images_of, spec_of, version_of, wanted_of

NOW = datetime(2026, 12, 20, 12, tzinfo=UTC)
HOUR = {"tiny": Rate(step=0, overhead=3600, max_steps=100, batch_size=8, resolution=64, usd_per_hour=2.0)}
SPEC = spec_of(retrain={"every_days": 7})


def forecast(
    until: date, *, names: str = "abc", created: str = "2026-12-14", policy: str = "{}", places: int = 1,
    running: str = "",
) -> Forecast:  # fmt: skip
    """What starts of concepts that were trained on a day and are due a week later; those in `running` are at it."""
    specs = {name: SPEC.model_copy(update={"placeholder_token": f"<{name}>"}) for name in names}
    wanted = {name: replace(wanted_of(), name=name, spec=spec) for name, spec in specs.items()}
    live = {
        name: LiveConcept(
            name, (version_of(1, created=f"{created}T12:00:00+00:00", spec={"placeholder_token": f"<{name}>"}),), None
        )
        for name in names
    }
    attempts: dict[str, Attempt] = {
        training_fingerprint(specs[name], images_of("abc"), TINY, "2026-12-20"): "running" for name in running
    }
    inputs = PlanInputs(BASES, TEMPLATES, rates=HOUR, attempts=attempts, today=NOW.date())
    return Simulation(Desired("r" * 40, wanted), Live(live), inputs, Pace(load_policy(policy), NOW, places)).run(until)


def when(found: Forecast) -> list[str]:
    return [f"{start.action.concept} {start.at:%m-%d %H:%M}" for start in found.starts]


def test_what_is_due_on_one_day_follows_one_another() -> None:
    found = forecast(date(2026, 12, 21))
    assert when(found) == ["a 12-21 00:00", "b 12-21 01:00", "c 12-21 02:00"]
    assert [start.waited for start in found.starts] == [(), ("NoFreePlace",), ("NoFreePlace",)]
    assert not forecast(date(2026, 12, 20)).starts, "the day itself counts, no other one"
    assert when(forecast(date(2026, 12, 28), names="a")) == ["a 12-21 00:00", "a 12-28 00:00"]


def test_a_window_is_awaited() -> None:
    night = "windows: [{start: '22:00', end: '23:30', timezone: Europe/Berlin}]"
    assert when(forecast(date(2026, 12, 22), policy=night)) == ["a 12-21 21:00", "b 12-21 22:00", "c 12-22 21:00"]


def test_a_budget_is_awaited_until_the_next_month() -> None:
    found = forecast(date(2026, 12, 31), policy="budget: {usd: 10}")
    # Three versions of December took their six dollars.
    assert when(found) == ["a 12-21 00:00", "b 12-21 01:00"]
    assert {action.concept: action.deferral for action in found.waiting} == dict.fromkeys("abc", "BudgetSpent")
    later = forecast(date(2027, 1, 1), policy="budget: {usd: 10}").starts
    assert [f"{one.action.concept} {one.at:%m-%d %H:%M}" for one in later[2:]] == [
        "c 01-01 00:00", "a 01-01 01:00", "b 01-01 02:00"
    ]  # fmt: skip
    assert later[2].waited == ("NoFreePlace", "BudgetSpent")


def test_what_runs_already_keeps_its_place_until_it_ends() -> None:
    found = forecast(date(2026, 12, 20), created="2026-12-13", running="b")
    assert when(found) == ["a 12-20 13:00", "c 12-20 14:00"]


def test_a_closed_registry_starts_nothing_and_says_why() -> None:
    found = forecast(date(2026, 12, 21), policy="suspend: true")
    assert [action.deferral for action in found.waiting] == ["RegistrySuspended"] * 3
    assert not found.starts


def test_as_many_start_at_once_as_there_are_places() -> None:
    assert when(forecast(date(2026, 12, 21), places=3)) == ["a 12-21 00:00", "b 12-21 00:00", "c 12-21 00:00"]
