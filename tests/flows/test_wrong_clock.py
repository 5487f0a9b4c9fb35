"""A machine whose clock is years off schedules and skips nothing at the wrong time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
import time_machine
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelling, Completed, Crashed, Pending, Running, Scheduled

from flows.watch import watch
from tests.support.registry_world import World, set_state
from tests.support.registry_world import training_runs as runs_of
from tests.support.wait import wait_until

SEEDS = count(70_000, 100)
OFF = pytest.mark.parametrize("off", [timedelta(days=700), timedelta(days=-700)], ids=["ahead", "behind"])
SOON = timedelta(minutes=1)


@contextmanager
def clock(off: timedelta) -> Iterator[None]:
    """Let this process's clock be off."""
    with time_machine.travel(datetime.now(UTC) + off, tick=True):
        yield


@pytest.fixture
def world(world: World) -> World:
    """A world with one concept that no run has trained."""
    world.write("late-dog", seed=next(SEEDS))
    world.push()
    return world


def the_run(world: World) -> FlowRun:
    [run] = runs_of(world.action("late-dog").fingerprint or "")
    return run


def states_of(run: FlowRun) -> list[State[object]]:
    with get_client(sync_client=True) as client:
        return sorted(client.read_flow_run_states(run.id), key=lambda state: state.timestamp)


@OFF
def test_a_training_is_scheduled_and_resumed_now(world: World, off: timedelta) -> None:
    with clock(off):
        watch()
    run = the_run(world)
    assert run.expected_start_time is not None
    assert abs(run.expected_start_time - datetime.now(UTC)) < SOON
    set_state(run, Crashed())
    with clock(off):
        watch()
    [*_, resumed] = states_of(the_run(world))
    assert resumed.name == "AwaitingRetry"
    assert abs((resumed.state_details.scheduled_time or datetime.min.replace(tzinfo=UTC)) - datetime.now(UTC)) < SOON


def test_a_run_that_was_cancelled_after_such_a_machine_resumed_it_does_not_come_back(world: World) -> None:
    watch()
    run = the_run(world)
    set_state(run, Crashed())
    with clock(timedelta(days=700)):
        watch()
    for state in (Pending(), Running(), Cancelling(), Crashed(message="ended by SIGTERM")):
        set_state(run, state)
    watch()
    assert [state.name for state in states_of(run)][-1] == "Crashed"
    assert world.action("late-dog").reason == "TrainingFailed"


def test_a_run_that_such_a_machine_completed_is_over(world: World) -> None:
    watch()
    run = the_run(world)
    for state in (Pending(), Running(), Completed(timestamp=datetime.now(UTC) + timedelta(days=700))):
        set_state(run, state)
    # The server tells its time in whole seconds. There is no version, as after it was deleted.
    wait_until(lambda: world.action("late-dog").kind == "train", timeout=15)


@pytest.mark.usefixtures("world")
def test_no_watch_of_the_future_is_skipped() -> None:
    with get_client(sync_client=True) as client:
        watcher = client.read_deployment_by_name("watch/watch").id
        later = client.create_flow_run_from_deployment(watcher, name="tomorrow")
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        client.set_flow_run_state(later.id, Scheduled(scheduled_time=tomorrow), force=True)
        with clock(timedelta(days=3)):
            watch()
        assert client.read_flow_run(later.id).state_name == "Scheduled"
        client.delete_flow_run(later.id)


def test_windows_open_by_the_clock_that_is_behind(world: World) -> None:
    now = datetime.now(UTC)
    (world.clone / "conceptry.yaml").write_text(f"windows:\n  - days: [{f'{now + timedelta(days=3):%a}'.lower()}]\n")
    world.push()
    with clock(timedelta(days=3)):
        action = world.action("late-dog")
    assert action.deferral == "WindowClosed"
