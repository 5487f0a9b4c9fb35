"""What an earlier `conceptry up` was stopped in the middle of ends when it starts again."""

from itertools import count

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelling, Pending, Running, Scheduled

from flows.keep_alive import PLACE
from flows.watch import watch
from local.left_runs import end_left_runs
from tasks.run_folder import RunFolder
from tests.support.registry_world import World, set_state
from tests.support.registry_world import training_runs as runs_of

SEEDS = count(20_000, 100)


@pytest.fixture
def run(world: World) -> FlowRun:
    """A training run that was started."""
    world.write("left-dog", seed=next(SEEDS))
    world.push()
    watch()
    (started,) = runs_of(world.action("left-dog").fingerprint or "")
    return started


def ended(world: World) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        return end_left_runs(client, world.installation.work)


def state_of(run: FlowRun) -> str | None:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run.id).state_name


@pytest.mark.parametrize(
    ("state", "final"),
    [(Pending(), "Crashed"), (Running(), "Crashed"), (Cancelling(), "Cancelled"), (Scheduled(), "Scheduled")],
    ids=["pending", "running", "cancelling", "scheduled"],
)
def test_only_what_was_interrupted_ends(world: World, run: FlowRun, state: State[None], final: str) -> None:
    if final == "Cancelled":
        set_state(run, Running())  # a run that did not begin is cancelled at once
    set_state(run, state)
    assert run.id in {one.id for one in ended(world)} or final == "Scheduled"
    assert state_of(run) == final


def test_an_interrupted_training_is_resumed_by_the_next_watch(world: World, run: FlowRun) -> None:
    set_state(run, Pending())
    ended(world)
    assert world.action("left-dog").reason == "TrainingInterrupted"
    watch()
    assert state_of(run) == "AwaitingRetry"


def test_runs_that_may_be_alive_are_left(world: World, run: FlowRun) -> None:
    set_state(run, Running())
    folder = RunFolder(world.installation.work.run(str(run.parameters["fingerprint"])))
    with folder.lock(str(run.id)):
        assert run.id not in {one.id for one in ended(world)}
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(run.id, {PLACE: "another-machine:/work"})
    assert run.id not in {one.id for one in ended(world)}
    assert state_of(run) == "Running"
