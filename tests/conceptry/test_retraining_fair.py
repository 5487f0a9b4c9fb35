"""Half a year of retrainings in simulated time: each concept has its turn, whatever places, windows and failures."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from conceptry.desired import Desired
from conceptry.forecast import Forecast, Simulation
from conceptry.plan_inputs import PlanInputs
from conceptry.policy import Policy, Window
from conceptry.rollout import Pace
from conceptry.version import Live, LiveConcept
from tests.support.plan_worlds import BASES, TEMPLATES, spec_of, version_of, wanted_of

NAMES = tuple(f"owl-{number:02}" for number in range(100))
START = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAYS = 180
NIGHT = Policy(windows=[Window(start="22:00", end="03:00", timezone="Europe/Berlin")])
BROKEN = ("owl-00", "owl-50", "owl-99")


def half_a_year(policy: Policy, duration: timedelta, broken: tuple[str, ...] = ()) -> Forecast:
    """What starts in 180 days: a hundred concepts of one day, due every 7 days, at two places."""
    concepts = {
        name: replace(wanted_of(), name=name, spec=spec_of(placeholder_token=f"<{name}>", retrain={"every_days": 7}))
        for name in NAMES
    }
    live = {name: LiveConcept(name, (version_of(1, spec={"placeholder_token": f"<{name}>"}),), None) for name in NAMES}
    registry = Simulation(
        Desired("r" * 40, concepts), Live(live), PlanInputs(BASES, TEMPLATES), Pace(policy, START, places=2),
        duration=lambda _action: duration, fails=lambda action: action.concept in broken,
    )  # fmt: skip
    return registry.run((START + timedelta(days=DAYS)).date())


def turns(forecast: Forecast) -> Counter[str]:
    return Counter(dict.fromkeys(NAMES, 0)) + Counter(start.action.concept for start in forecast.starts)


WORLDS = {
    "places suffice": (Policy(), timedelta(hours=1), 20),
    "places do not suffice": (Policy(), timedelta(hours=5), 15),
    "some hours a night": (NIGHT, timedelta(hours=1), 15),
}


@pytest.mark.parametrize("broken", [(), BROKEN], ids=["none fails", "three always fail"])
@pytest.mark.parametrize("world", WORLDS)
def test_each_is_retrained_as_often_as_the_others(world: str, broken: tuple[str, ...]) -> None:
    policy, duration, at_least = WORLDS[world]
    forecast = half_a_year(policy, duration, broken)
    counts = turns(forecast)
    healthy = [counts[name] for name in NAMES if name not in broken]
    assert max(healthy) - min(healthy) <= 1, Counter(healthy)
    assert min(healthy) >= at_least
    for name in broken:
        assert min(healthy) - 1 <= counts[name] <= 3 * (max(healthy) + 1), "tried in turn, and again twice"
    if policy.windows:
        assert all(NIGHT.windows[0].is_open(start.at) for start in forecast.starts)


def test_two_run_at_a_time_and_those_of_one_day_follow_one_another() -> None:
    starts = half_a_year(Policy(), timedelta(hours=1)).starts
    assert max(Counter(start.at for start in starts).values()) == 2
    assert starts == tuple(sorted(starts, key=lambda start: start.at))
