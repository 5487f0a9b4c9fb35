"""Scheduled retrainings: the watch starts each once, the longest due first, and tries a failed one again."""

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest
from prefect.states import Cancelled, Failed, State

from flows.release import release
from flows.train_concept import train_concept
from flows.watch import watch
from tests.support.registry_world import World, set_state, training_runs

EVERY = {"every_days": 30}


def due_day(world: World, name: str, ago: int = 40) -> str:
    """Publish v1 of a concept as it was some days ago; the day on which its retraining was due."""
    made = datetime.now(UTC) - timedelta(days=ago)
    world.write(name, retrain=EVERY)
    world.push()
    world.publish(name, created=made.isoformat(timespec="seconds"), loss=0.05)
    assert release(name) == "v1"
    return (made.date() + timedelta(days=30)).isoformat()


def test_what_is_due_is_started_once(world: World) -> None:
    day = due_day(world, "aged-owl")
    due = world.action("aged-owl")
    assert (due.kind, due.reason, due.retrain) == ("train", "RetrainDue", day)
    for _ in range(2):
        assert watch(return_state=True).is_completed()
    runs = training_runs(due.fingerprint or "")
    assert [flow_run.parameters["retrain"] for flow_run in runs] == [day]
    assert world.action("aged-owl").reason == "TrainingRunning"


def test_a_closed_window_is_awaited_and_not_missed(world: World) -> None:
    day = due_day(world, "night-owl")
    tomorrow = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[(datetime.now(UTC).weekday() + 1) % 7]
    (world.clone / "conceptry.yaml").write_text(f"windows: [{{days: [{tomorrow}], start: '12:00', end: '12:01'}}]\n")
    world.push()
    watch()
    waiting = world.action("night-owl")
    assert (waiting.reason, waiting.deferral, waiting.retrain) == ("RetrainDue", "WindowClosed", day)
    assert not training_runs(waiting.fingerprint or "")
    (world.clone / "conceptry.yaml").write_text("{}\n")
    world.push()
    watch()
    assert len(training_runs(waiting.fingerprint or "")) == 1


def test_the_longest_due_is_first_and_not_the_first_by_name(world: World) -> None:
    for index, name in enumerate(("a-owl", "b-owl", "c-owl")):
        due_day(world, name, ago=40 + index)
    watch()
    reasons = {name: world.action(name).reason for name in ("a-owl", "b-owl", "c-owl")}
    assert reasons == {"a-owl": "RetrainDue", "b-owl": "TrainingRunning", "c-owl": "TrainingRunning"}
    assert world.action("a-owl").deferral == "NoFreePlace"


@pytest.mark.parametrize(("end", "after"), [(Failed(message="out of memory"), 1), (Cancelled(), 20)])
def test_one_that_failed_is_tried_again_later_and_does_not_need_anybody(
    world: World, end: State[None], after: int
) -> None:
    name = f"{end.type.value.lower()}-owl"
    due_day(world, name)
    watch()
    (first,) = training_runs(world.action(name).fingerprint or "")
    set_state(first, end)
    watch()
    one = world.planned(name)
    assert (one.training.reason, one.sync, one.health) == ("RetrainFailed", "Synced", "Healthy")
    again = datetime.now(UTC).date() + timedelta(days=after)
    assert f"tried again {again}" in one.listed[-1].cause
    assert [run.id for run in training_runs(str(first.parameters["fingerprint"]))] == [first.id]


def test_the_command_shows_what_comes_when_and_what_it_costs(world: World) -> None:
    day = due_day(world, "due-owl")
    until = datetime.now(UTC).date() + timedelta(days=35)

    def due(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cli", "plan", "--due", until.isoformat(), *options]
        environment = {**os.environ, **world.variables(), "CONCEPTRY_GPU_USD_PER_HOUR": "2"}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    done = due("--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["concept"] for one in found["starts"]] == ["due-owl", "due-owl"]
    again = (datetime.now(UTC).date() + timedelta(days=30)).isoformat()
    assert [one["due"] for one in found["starts"]] == [day, again]
    assert found["starts"][1]["at"].startswith(again)
    assert found["estimate"]["usd"] == pytest.approx(sum(one["estimate"]["usd"] for one in found["starts"]), abs=0.01)
    assert "2 trainings until" in due().stdout
    assert not training_runs(world.action("due-owl").fingerprint or ""), "nothing was started"


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
    assert watch(return_state=True).message == "1 concept, 0 changes"
