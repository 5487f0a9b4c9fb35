"""Which runs count as alive: by what their processes tell the server, and never by what one machine's files lack."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count
from threading import Event
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Completed, Crashed, Failed, Pending, Running

from conceptry.errors import TransientError
from conceptry.installation import Installation
from flows.keep_alive import PLACE, STATE, keep_alive, place_of
from flows.liveness import Deadlines, Liveness
from flows.train_concept import schedule_training
from flows.training_runs import MAX_RESUMED, training_runs
from flows.training_states import INTERRUPTED
from flows.watch import watch
from tests.support.registry_world import World, events_of, set_state
from tests.support.registry_world import training_runs as runs_of
from tests.support.wait import wait_until

# The server tells its time in whole seconds, and up to one late.
AT_ONCE = timedelta(seconds=-3)
SOON = Deadlines(running=AT_ONCE, pending=AT_ONCE, cancelling=AT_ONCE, observed=timedelta(seconds=1))
# A run that renews itself is observed only until its next renewal, which takes seconds on a busy machine.
PATIENT = replace(SOON, observed=timedelta(seconds=30))
SEEDS = count(10_000, 100)
ELSEWHERE = "another-machine:/work"


@pytest.fixture
def run(world: World) -> FlowRun:
    """A training run that the watch has started and a worker on another machine works on."""
    world.write("far-dog", seed=next(SEEDS))
    world.push()
    watch()
    (started,) = runs_of(world.action("far-dog").fingerprint or "")
    set_state(started, "run")
    label(started.id, ELSEWHERE)
    return read(started.id)


def read(run: UUID) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run)


def label(run: UUID, place: str) -> None:
    """Give a sign of life of a run."""
    state = read(run).state
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(run, {PLACE: place, STATE: str(state.id if state else "")})


def settled(installation: Installation, deadlines: Deadlines = SOON) -> list[FlowRun]:
    """The active runs, after lost ones were ended."""
    with training_runs(installation, settle=True, deadlines=deadlines) as runs:
        return runs.active()


def settle(world: World, run: FlowRun, pause: Callable[[float], None]) -> None:
    """End a run as it was read, if it is lost; `pause` is what happens while it is observed."""
    with get_client(sync_client=True) as client:
        Liveness(client, world.installation.work, SOON, pause).settle([run])


def test_a_run_that_gives_signs_of_life_goes_on(world: World, run: FlowRun) -> None:
    with keep_alive(run.id, ELSEWHERE, every=0.1):
        assert [each.id for each in settled(world.installation, PATIENT)] == [run.id]
    assert read(run.id).state_type is StateType.RUNNING


def test_a_run_whose_host_was_lost_crashes_and_goes_on_once(world: World, run: FlowRun) -> None:
    assert settled(world.installation) == []
    ended = read(run.id)
    assert ended.state_type is StateType.CRASHED
    assert "another-machine" in (ended.state.message if ended.state else "")
    wait_until(lambda: "interrupted" in events_of("far-dog"))
    action = world.action("far-dog")
    assert (action.kind, action.reason) == ("train", "TrainingInterrupted")
    watch()
    watch()
    assert [(each.id, each.state_name) for each in runs_of(action.fingerprint or "")] == [(run.id, "AwaitingRetry")]


def test_default_deadlines() -> None:
    usual = Deadlines()
    assert usual.pending > timedelta(minutes=10), "a node pool scales up"
    # The watch runs every minute, and a worker takes some seconds to start it.
    assert usual.running + usual.observed + timedelta(seconds=60 + 15) < timedelta(minutes=3)


def test_silence_within_the_deadlines_is_no_loss(world: World, run: FlowRun) -> None:
    assert [each.id for each in settled(world.installation, Deadlines())] == [run.id]
    set_state(run, Pending())
    assert [each.id for each in settled(world.installation, Deadlines())] == [run.id]


def test_a_run_that_was_silent_while_the_server_was_away_goes_on(world: World, run: FlowRun) -> None:
    settle(world, run, pause=lambda _: label(run.id, ELSEWHERE))
    assert read(run.id).state_type is StateType.RUNNING


@pytest.mark.parametrize("state", [Completed(), Cancelling(), Cancelled(), AwaitingRetry()], ids=lambda s: str(s.name))
def test_a_state_is_changed_only_if_it_is_what_was_read(world: World, run: FlowRun, state: State[None]) -> None:
    settle(world, run, pause=lambda _: set_state(run, state))
    assert read(run.id).state_name == state.name


def test_a_run_that_no_worker_started_crashes(world: World, run: FlowRun) -> None:
    set_state(run, Pending())
    assert settled(world.installation) == []
    assert read(run.id).state_type is StateType.CRASHED


def test_a_cancelled_run_never_comes_back_however_slow_it_ends(world: World, run: FlowRun) -> None:
    set_state(run, Cancelling())
    asked = Event()
    with keep_alive(run.id, ELSEWHERE, every=0.1, end=asked.set):
        assert asked.wait(20), "its runner did not see that it was cancelled"
        assert [each.id for each in settled(world.installation, PATIENT)] == [run.id], "it is still ending its job"
    wait_until(lambda: settled(world.installation) == [])  # a last renewal may be on its way
    watch()
    watch()
    assert [each.state_name for each in runs_of(str(run.parameters["fingerprint"]))] == ["Cancelled"]
    action = world.action("far-dog")
    assert (action.kind, action.reason, action.health) == ("hold", "TrainingCancelled", "Suspended")
    assert "`conceptry train far-dog` starts it again" in action.cause


def test_a_run_that_crashed_while_it_was_cancelled_does_not_come_back(world: World, run: FlowRun) -> None:
    set_state(run, Cancelling())
    set_state(run, Crashed(message="ended by SIGTERM"))
    watch()
    assert read(run.id).state_type is StateType.CRASHED
    assert world.action("far-dog").reason == "TrainingFailed"


def test_an_error_that_passes_is_tried_again_later(world: World, run: FlowRun) -> None:
    set_state(run, Failed(name=INTERRUPTED, message="the Hub answered 429"))
    assert world.action("far-dog").reason == "TrainingInterrupted"
    watch()
    again = read(run.id)
    assert (again.state_name, again.next_scheduled_start_time is not None) == ("AwaitingRetry", True)
    action = world.action("far-dog")
    assert (action.kind, action.reason) == ("nothing", "TrainingRetried")
    assert action.cause.startswith("tried again at ")
    assert "after: the Hub answered 429" in action.cause


def test_an_error_that_says_when_it_passes_is_tried_again_then(world: World, run: FlowRun) -> None:
    error = TransientError("the Hub answered 429", retry_after=2700)
    set_state(run, Failed(name=INTERRUPTED, message=str(error)))
    watch()
    again = read(run.id)
    assert error.not_before is not None
    assert again.next_scheduled_start_time is not None
    assert abs((again.next_scheduled_start_time - error.not_before).total_seconds()) < 2
    assert f"tried again at {error.not_before:%Y-%m-%d %H:%M} UTC" in world.action("far-dog").cause


def test_an_empty_lock_file_says_nothing(world: World, run: FlowRun) -> None:
    folder = world.run_folder(str(run.parameters["fingerprint"]))
    folder.root.mkdir(parents=True)
    (folder.root / "lock").touch()
    label(run.id, place_of(world.installation.work.root))
    assert [each.id for each in settled(world.installation, Deadlines())] == [run.id]
    assert settled(world.installation) == []


def test_a_process_that_was_killed_on_this_machine_is_known_at_once(world: World, run: FlowRun) -> None:
    folder = world.run_folder(str(run.parameters["fingerprint"]))
    folder.root.mkdir(parents=True)
    (folder.root / "lock").write_text(str(run.id))
    assert [each.id for each in settled(world.installation, Deadlines())] == [run.id], "it goes on elsewhere"
    label(run.id, place_of(world.installation.work.root))
    assert settled(world.installation, Deadlines()) == []


def test_an_attempt_that_was_killed_on_this_machine_says_nothing_about_the_next_one(world: World, run: FlowRun) -> None:
    folder = world.run_folder(str(run.parameters["fingerprint"]))
    folder.root.mkdir(parents=True)
    (folder.root / "lock").write_text(str(run.id))
    label(run.id, place_of(world.installation.work.root))
    for state in (Crashed(message="killed"), AwaitingRetry(), Pending(), Running()):
        set_state(run, state)
    assert [each.id for each in settled(world.installation, Deadlines())] == [run.id], "another machine begins with it"
    label(run.id, ELSEWHERE)
    assert [each.id for each in settled(world.installation, Deadlines())] == [run.id]


def test_a_process_that_holds_the_folder_on_this_machine_is_alive(world: World, run: FlowRun) -> None:
    with world.run_folder(str(run.parameters["fingerprint"])).lock(str(run.id)):
        assert [each.id for each in settled(world.installation)] == [run.id]


def test_retries_of_a_user_do_not_count_as_crashes(world: World, run: FlowRun) -> None:
    def crash_and_resume(times: int) -> None:
        for _ in range(times):
            set_state(run, Crashed(message="killed"))
            watch()
            assert read(run.id).state_name == "AwaitingRetry"
            set_state(run, Pending())
            set_state(run, Running())

    crash_and_resume(MAX_RESUMED)
    set_state(run, Crashed(message="killed"))
    watch()
    assert read(run.id).state_type is StateType.CRASHED
    assert world.action("far-dog").kind == "hold"
    schedule_training(world.installation, "far-dog")
    set_state(run, Pending())
    crash_and_resume(MAX_RESUMED)


def test_a_plan_changes_no_run(world: World, run: FlowRun) -> None:
    with training_runs(world.installation, deadlines=SOON) as runs:
        assert [each.id for each in runs.active()] == [run.id]
    assert read(run.id).state_type is StateType.RUNNING


def test_runs_of_another_installation_are_not_seen(world: World, run: FlowRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCEPTRY_HUB_OWNER", "another")
    assert settled(world.installation) == []
    assert read(run.id).state_type is StateType.RUNNING
