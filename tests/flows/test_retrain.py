"""Scheduled retrainings: when they are due, that they start once, and that only a better one is released."""

from datetime import UTC, date, datetime, timedelta

import pytest

from flows.release import release
from flows.retrain import retrain
from flows.train_concept import train_concept
from tests.support.registry_world import World, training_runs

EVERY = {"every_days": 30}


def due_day(world: World, name: str) -> str:
    """Publish v1 of a concept as it was 40 days ago; the day on which its retraining was due."""
    made = datetime.now(UTC) - timedelta(days=40)
    world.write(name, retrain=EVERY)
    world.push()
    world.publish(name, created=made.isoformat(timespec="seconds"), loss=0.05)
    assert release(name) == "v1"
    return (made.date() + timedelta(days=30)).isoformat()


def test_what_is_due_is_started_once_and_by_this_flow_only(world: World) -> None:
    day = due_day(world, "aged-owl")
    assert world.action("aged-owl").kind == "nothing", "the watcher leaves it alone"
    for _ in range(2):
        assert retrain(return_state=True).is_completed()
    parameters = world.trained("aged-owl", retrain=day)
    runs = training_runs(parameters["fingerprint"])
    assert [flow_run.parameters["retrain"] for flow_run in runs] == [day]


@pytest.mark.parametrize(("loss", "gate", "released"), [(0.06, "rejected", "v1"), (0.04, "passed", "v2")])
def test_only_a_better_version_is_released(world: World, loss: float, gate: str, released: str) -> None:
    name = f"{gate}-owl"
    day = due_day(world, name)
    assert train_concept(**world.trained(name, loss=loss, retrain=day, released=0.05)) == "v2"
    there = world.there(name)
    assert [(version.gate, version.retrain) for version in there.versions] == [("passed", None), (gate, day)]
    assert there.space is not None
    assert there.space.release == released
    assert date.fromisoformat(day) < there.versions[1].day, "the next one is due 30 days from now"
    assert retrain(return_state=True).message == "1 concepts, 0 changes"
