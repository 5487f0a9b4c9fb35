"""The watcher starts a watch when there is something to do, and leaves no trace otherwise; one works at a time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count, pairwise
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.flow_engine import run_flow
from prefect.states import Cancelled, Running

import flows.watcher
from flows.deployment_changes import DeploymentChange
from flows.deployments import TRAINING, WATCH, WATCHER, installation_tag
from flows.keep_alive import PLACE, place_of
from flows.liveness import Deadlines
from flows.look import Work
from flows.skipped_runs import delete_skipped
from flows.watcher import LOOK_AT_TRAININGS, Undone, stop_of_context, watcher
from flows.watcher_runs import LOOKED, last_look, must_end, working_watcher
from local.resident_watcher import ResidentWatcher
from local.serve_flows import declared_deployments, deployments, runner_deployment
from tests.support.registry_world import World

SEEDS = count(9_100)
EVERY = 0.5


@pytest.fixture
def deployed(world: World, request: pytest.FixtureRequest) -> Iterator[dict[str, UUID]]:
    """Deployments of the world's installation, with a look every half second, or as the test says; by flow."""
    every = getattr(request, "param", EVERY)
    served = [runner_deployment(DeploymentChange(one, None)) for one in declared_deployments(every, world.installation)]
    yield {one.flow_name or "": one.apply(_sync=True) for one in served}
    for one in deployments(watch_every=3600):
        one.apply(_sync=True)


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


def runs_of(client: SyncPrefectClient, deployment: UUID, world: World) -> list[FlowRun]:
    mine = installation_tag(world.installation.id)
    found = client.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])))
    return [run for run in found if mine in run.tags]


@contextmanager
def working(world: World) -> Iterator[ResidentWatcher]:
    resident = ResidentWatcher(world.installation)
    resident.start()
    try:
        yield resident
    finally:
        resident.stop(30)


def wait_for(what: str, condition: object, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


def test_a_watch_is_run_for_work_alone(world: World, deployed: dict[str, UUID], client: SyncPrefectClient) -> None:
    world.write("looked-at", seed=next(SEEDS))
    world.push()

    def watches() -> list[FlowRun]:
        return runs_of(client, deployed[WATCH], world)

    def looks() -> str:
        found = last_look(client, world.installation)
        return str(found[0]) if found else ""

    with working(world):
        wait_for("a watch after the push", lambda: any(run.state_name == "Completed" for run in watches()))
        assert "train looked-at" in [run.name for run in watches()]
        wait_for("a first look", looks)
        # Nobody runs trainings here, so the training that it scheduled stays as it is.
        time.sleep(4 * EVERY)
        before, looked = {run.id for run in watches()}, looks()
        wait_for("two more looks", lambda: looks() > looked)
        time.sleep(2)
        assert {run.id for run in watches()} == before, "looks without work leave no run"
        assert all(run.state_name == "Completed" for run in watches())

        world.write("looked-at", seed=next(SEEDS), suspend=True)
        world.push()
        wait_for("a watch after the next push", lambda: any(run.name.startswith("pushed ") for run in watches()))
        [own] = [run for run in runs_of(client, deployed[WATCHER], world) if run.state_name == "Running"]
        assert own.labels[PLACE] == place_of(world.installation.work.root)
    [ended] = runs_of(client, deployed[WATCHER], world)
    assert (ended.state_name, ended.state and ended.state.message) == ("Completed", "Stopped.")


@pytest.mark.parametrize("deployed", [3600.0], indirect=True)
def test_it_looks_when_a_training_has_ended(world: World, deployed: dict[str, UUID], client: SyncPrefectClient) -> None:
    world.write("ends-soon", seed=next(SEEDS))
    world.push()

    def looks() -> str:
        found = last_look(client, world.installation)
        return str(found[0]) if found else ""

    with working(world):
        wait_for("a training", lambda: runs_of(client, deployed[TRAINING], world))
        wait_for("a first look", looks)
        [training] = runs_of(client, deployed[TRAINING], world)
        # It has to be counted once while it is active; the look after its end then finds it gone.
        time.sleep(1.5 * LOOK_AT_TRAININGS)
        looked = looks()
        client.set_flow_run_state(training.id, Cancelled(), force=True)
        wait_for("a look, long before the next one is due", lambda: looks() > looked)


def test_a_watcher_ends_beside_one_that_works(
    world: World, deployed: dict[str, UUID], client: SyncPrefectClient
) -> None:
    there = _elsewhere(client, deployed[WATCHER], looked=True)
    assert there.name in (working_watcher(client, world.installation) or "")
    second = client.create_flow_run_from_deployment(deployed[WATCHER])
    stop_of_context.set(threading.Event())
    state: State[None] = run_flow(watcher, flow_run=second, parameters={"every": 1}, return_type="state")
    assert (state.name, there.name in (state.message or "")) == ("Skipped", True)
    delete_skipped(client, world.installation)
    assert client.read_flow_run(second.id), "users can look at it for some time"
    delete_skipped(client, world.installation, timedelta(0))
    assert [run.id for run in runs_of(client, deployed[WATCHER], world)] == [there.id]

    # Its host is lost: after the deadline it counts as dead, and another one may work.
    soon = Deadlines(running=timedelta(seconds=1), observed=timedelta(seconds=1))
    wait_for("the silent one is lost", lambda: working_watcher(client, world.installation, None, soon) is None)
    assert client.read_flow_run(there.id).state_name == "Crashed"
    assert last_look(client, world.installation) is None


def test_of_two_that_work_the_younger_one_ends(
    world: World, deployed: dict[str, UUID], client: SyncPrefectClient
) -> None:
    first, second = (_elsewhere(client, deployed[WATCHER], looked=True) for _ in range(2))
    assert not must_end(client, world.installation, first.id)
    assert must_end(client, world.installation, second.id)
    client.set_flow_run_state(first.id, Cancelled(), force=True)
    assert must_end(client, world.installation, first.id), "it was ended on the server"
    assert not must_end(client, world.installation, second.id)


def test_two_that_start_at_the_same_time_do_not_both_end(
    world: World, deployed: dict[str, UUID], client: SyncPrefectClient
) -> None:
    first, second = (_elsewhere(client, deployed[WATCHER], looked=False) for _ in range(2))
    assert working_watcher(client, world.installation, first.id) is None
    assert working_watcher(client, world.installation, second.id) is not None


def test_a_watcher_that_was_killed_here_is_replaced_at_once(
    world: World, deployed: dict[str, UUID], client: SyncPrefectClient
) -> None:
    killed = _elsewhere(client, deployed[WATCHER], looked=True, place=place_of(world.installation.work.root))
    with working(world):
        wait_for("a first look", lambda: last_look(client, world.installation) is not None, 30)
    assert client.read_flow_run(killed.id).state_name == "Crashed"


def test_the_paused_deployment_watch_pauses_it(
    world: World, deployed: dict[str, UUID], client: SyncPrefectClient
) -> None:
    client.pause_deployment(deployed[WATCH])
    world.write("not-looked-at", seed=next(SEEDS))
    world.push()
    with working(world):
        wait_for(
            "it works", lambda: any(run.state_name == "Running" for run in runs_of(client, deployed[WATCHER], world))
        )
        time.sleep(3)
        assert not runs_of(client, deployed[WATCH], world)
        client.resume_deployment(deployed[WATCH])
        wait_for("a watch", lambda: runs_of(client, deployed[WATCH], world))


def test_the_switch_of_its_schedule_pauses_it_and_wakes_it(
    world: World, deployed: dict[str, UUID], client: SyncPrefectClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "conceptry.watcher")
    # Others of this server's deployment have left theirs.
    for left in client.read_deployment_schedules(deployed[WATCHER]):
        client.delete_deployment_schedule(deployed[WATCHER], left.id)
    yearly = IntervalSchedule(interval=timedelta(days=365))
    [schedule] = client.create_deployment_schedules(deployed[WATCHER], [(yearly, True)])
    world.write("looked-at", seed=next(SEEDS))
    world.push()
    with working(world):
        wait_for("a watch", lambda: runs_of(client, deployed[WATCH], world))
        client.update_deployment_schedule(deployed[WATCHER], schedule.id, active=False)
        wait_for("it rests", lambda: "the watcher rests" in caplog.text)
        before = len(runs_of(client, deployed[WATCH], world))
        world.write("not-looked-at-yet", seed=next(SEEDS))
        world.push()
        time.sleep(3)
        assert len(runs_of(client, deployed[WATCH], world)) == before
        client.update_deployment_schedule(deployed[WATCHER], schedule.id, active=True)
        wait_for("another watch", lambda: len(runs_of(client, deployed[WATCH], world)) > before)


def test_what_stays_undone_is_tried_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(flows.watcher.time, "monotonic", lambda: clock)
    undone, starts = Undone(10), {"train": [0.0], "hide": [0.0]}
    for title, times in starts.items():
        times.clear()
        clock = 0.0
        while clock < 4000:
            if undone.may_start(Work(title, title, urgent=title == "hide")):
                times.append(clock)
            clock += 10
    assert starts["train"] == [0, 10, 30, 70, 150, 310, 630, 1270, 2170, 3070, 3970]
    assert {late - early for early, late in pairwise(starts["hide"][4:])} == {60}
    assert undone.may_start(Work("train", "other")), "another difference does not wait"


def _elsewhere(client: SyncPrefectClient, deployment: UUID, *, looked: bool, place: str = "other:/work") -> FlowRun:
    """A watcher's run of another machine, which gives no further sign of life."""
    run = client.create_flow_run_from_deployment(deployment)
    client.set_flow_run_state(run.id, Running(), force=True)
    client.update_flow_run_labels(run.id, {PLACE: place, **({LOOKED: "2026-11-30T00:00:00+00:00"} if looked else {})})
    return client.read_flow_run(run.id)
