"""`conceptry deploy` and `conceptry up` change what prefect.yaml changed, and leave what users set."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import typer
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.events.actions import DoNothing, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from cli.deploy import command
from conceptry.errors import SettingsError
from flows.automations import NOTICES
from flows.declared_deployments import DeclaredDeployment, read_declared
from flows.deployment_changes import compare_deployments, settle
from flows.deployment_record import VARIABLE
from flows.deployments import FLOWS, deployment_tags
from flows.schedule_merge import ScheduleFields, Timing
from local.child_process import Child
from local.serve_flows import runner_deployment
from tasks.processes import python_module
from tests.support.registry_world import World

Deploy = Callable[..., tuple[int, dict[str, str]]]
PUSHED = "watch when somebody pushed"
LINE = re.compile(r"(?P<what>automation '[^']+'|\S+): (?P<said>.*)")
TRIGGER = EventTrigger(expect={"nothing.of.this.kind"}, posture=Posture.Reactive, threshold=1, within=timedelta(0))


@pytest.fixture
def client(prefect_api: str) -> Iterator[SyncPrefectClient]:
    del prefect_api
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture
def deploy(capsys: pytest.CaptureFixture[str]) -> Deploy:
    """`conceptry deploy`: its exit code, and what it said by deployment or automation."""

    def run(*, dry_run: bool = False, prune: bool = False) -> tuple[int, dict[str, str]]:
        capsys.readouterr()
        code = 0
        try:
            command(dry_run=dry_run, prune_removed=prune)
        except typer.Exit as ended:
            code = ended.exit_code
        lines = (LINE.fullmatch(line) for line in capsys.readouterr().out.splitlines())
        return code, {line["what"]: line["said"] for line in lines if line}

    return run


def read(client: SyncPrefectClient, flow: str, suffix: str) -> DeploymentResponse:
    return client.read_deployment_by_name(f"{flow}/{flow}{suffix}")


def trigger_enabled(client: SyncPrefectClient, deployment: UUID) -> bool:
    related = client.read_resource_related_automations(f"prefect.deployment.{deployment}")
    [found] = [each for each in related if each.name == PUSHED]
    return found.enabled


def change_as_user(client: SyncPrefectClient, suffix: str) -> None:
    """Do in the UI what users do: pause, switch off, set another interval, add a schedule."""
    watcher, watch, reap = (read(client, flow, suffix) for flow in ("watcher", "watch", "reap"))
    client.update_deployment(watch.id, DeploymentUpdate(paused=True, tags=watch.tags))
    client.update_deployment_schedule(watcher.id, watcher.schedules[0].id, active=False)
    [pushed] = [
        each
        for each in client.read_resource_related_automations(f"prefect.deployment.{watch.id}")
        if each.name == PUSHED
    ]
    client.pause_automation(pushed.id)
    hourly = IntervalSchedule(interval=timedelta(hours=1))
    client.update_deployment_schedule(reap.id, reap.schedules[0].id, schedule=hourly)
    client.create_deployment_schedules(reap.id, [(IntervalSchedule(interval=timedelta(days=1)), True)])


def assert_as_user_left_it(client: SyncPrefectClient, suffix: str) -> None:
    watcher, watch, reap = (read(client, flow, suffix) for flow in ("watcher", "watch", "reap"))
    assert watch.paused
    assert [schedule.active for schedule in watcher.schedules] == [False]
    assert not trigger_enabled(client, watch.id)
    intervals = {(each.slug, each.schedule.interval, each.active) for each in reap.schedules}
    assert intervals == {("interval", timedelta(hours=1), True), (None, timedelta(days=1), True)}


@pytest.mark.usefixtures("world")
def test_deploy_says_what_would_change_and_leaves_what_users_set(
    client: SyncPrefectClient, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix = "-redeployed"
    monkeypatch.setenv("CONCEPTRY_DEPLOYMENT_SUFFIX", suffix)
    with pytest.raises(SettingsError, match="there is no work pool conceptry-redeployed") as without:
        deploy()
    assert "prefect work-pool create conceptry-redeployed" in str(without.value)
    client.create_work_pool(WorkPoolCreate(name="conceptry-redeployed", type="process"))
    monkeypatch.setenv("CONCEPTRY_NOTIFICATION_BLOCK", "slack-webhook/nobody")
    with pytest.raises(SettingsError, match="there is no block slack-webhook/nobody"):
        deploy()
    monkeypatch.delenv("CONCEPTRY_NOTIFICATION_BLOCK")

    code, would = deploy(dry_run=True)
    assert code == 2
    wanted = {f"{flow}/{flow}{suffix}" for flow in FLOWS}
    assert would.keys() == wanted | {f"automation 'conceptry{suffix}: {notice.title}'" for notice in NOTICES}
    assert set(would.values()) == {"created"}
    with pytest.raises(ObjectNotFound):
        read(client, "watch", suffix)

    assert deploy() == (0, would)
    code, would = deploy(dry_run=True)
    assert code == 0, would
    assert set(would.values()) == {"unchanged"}

    change_as_user(client, suffix)
    before = {flow: read(client, flow, suffix).updated for flow in FLOWS}
    code, kept = deploy(dry_run=True)
    assert code == 0, kept
    assert {flow: read(client, flow, suffix).updated for flow in FLOWS} == before
    assert kept[f"watch/watch{suffix}"].startswith("unchanged; kept as set by users: paused")
    assert kept[f"watcher/watcher{suffix}"].startswith("unchanged; kept as set by users: schedule interval inactive")
    assert "every 3600 s (prefect.yaml: every 600 s)" in kept[f"reap/reap{suffix}"]
    assert "every 86400 s, active (added by a user)" in kept[f"reap/reap{suffix}"]
    assert deploy() == (0, kept)
    assert_as_user_left_it(client, suffix)


def test_prune_deletes_what_prefect_yaml_dropped_and_nothing_of_others(
    world: World, client: SyncPrefectClient, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix = "-pruned"
    monkeypatch.setenv("CONCEPTRY_DEPLOYMENT_SUFFIX", suffix)
    client.create_work_pool(WorkPoolCreate(name="conceptry-pruned", type="process"))
    flow = client.create_flow_from_name("retrain")
    dropped = client.create_deployment(flow, f"retrain{suffix}", tags=deployment_tags(world.installation.id))
    foreign = client.create_deployment(flow, "retrain-foreign", tags=deployment_tags("other-0123456789"))
    runs = [RunDeployment(source="selected", deployment_id=dropped)]
    owned = client.create_automation(
        AutomationCore(name="retrain it", trigger=TRIGGER, actions=runs, owner_resource=f"prefect.deployment.{dropped}")
    )
    mine = f"conceptry.installation.{world.installation.id}"
    client.create_automation(
        AutomationCore(name="conceptry: no more", trigger=TRIGGER, actions=[DoNothing()], owner_resource=mine)
    )
    code, told = deploy(dry_run=True)
    assert "`conceptry deploy --prune` deletes it" in told[f"retrain/retrain{suffix}"]
    code, would = deploy(dry_run=True, prune=True)
    assert code == 2
    assert "to be deleted" in would[f"retrain/retrain{suffix}"]
    assert client.read_deployment(dropped).id == dropped
    assert client.read_automation(owned) is not None

    assert deploy(prune=True)[0] == 0
    with pytest.raises(ObjectNotFound):
        client.read_deployment(dropped)
    left = {each.name for each in client.read_automations()}
    assert left.isdisjoint({"retrain it", "conceptry: no more"})
    assert client.read_deployment(foreign).id == foreign
    assert read(client, "watch", suffix).tags == deployment_tags(world.installation.id)


def declared(suffix: str, interval: float = 600) -> list[DeclaredDeployment]:
    """What prefect.yaml declares of reap, with another interval."""
    every = ScheduleFields(timing=Timing(interval=interval), active=True, parameters={})
    return [
        replace(one, pool=None, job_variables={}, pull=None, schedules={"interval": every})
        for one in read_declared(suffix, deployment_tags("changed-0123456789"))
        if one.flow == "reap"
    ]


def register(client: SyncPrefectClient, suffix: str, interval: float) -> tuple[str, ...]:
    """Deploy as `up` does; what was changed about reap, and what was kept."""
    changes = compare_deployments(client, declared(suffix, interval), suffix)
    for change in changes:
        runner_deployment(change).apply(_sync=True)
    settle(client, changes, suffix)
    [reap] = changes
    return (*reap.changes, *reap.kept)


def test_a_changed_prefect_yaml_changes_schedules_that_no_user_changed(client: SyncPrefectClient) -> None:
    suffix = "-changed"

    def intervals() -> list[timedelta]:
        return [each.schedule.interval for each in read(client, "reap", suffix).schedules]

    register(client, suffix, 600)
    assert intervals() == [timedelta(seconds=600)]
    assert register(client, suffix, 300) == ("schedule interval (every 600 s -> every 300 s)",)
    assert intervals() == [timedelta(seconds=300)]
    [schedule] = read(client, "reap", suffix).schedules
    client.update_deployment_schedule(
        read(client, "reap", suffix).id, schedule.id, schedule=IntervalSchedule(interval=timedelta(seconds=77))
    )
    for seconds in (300, 200):
        [kept] = register(client, suffix, seconds)
        assert kept == f"schedule interval every 77 s (prefect.yaml: every {seconds} s)"
        assert intervals() == [timedelta(seconds=77)]
    # Without its record nothing is known about who changed what, so nothing is overwritten.
    client.delete_variable_by_name(VARIABLE + suffix)
    register(client, suffix, 100)
    assert intervals() == [timedelta(seconds=77)]


def test_the_schedule_of_an_earlier_release_goes(client: SyncPrefectClient) -> None:
    """`watch` ran every minute, and nothing recorded that it was not a user who wanted this."""
    suffix = "-upgraded"
    [watch] = (replace(one, pool=None) for one in read_declared(suffix, []) if one.flow == "watch")
    minute, hour = (
        ScheduleFields(timing=Timing(interval=seconds), active=True, parameters={}) for seconds in (60, 3600)
    )
    flow = client.create_flow_from_name("watch")
    client.create_deployment(
        flow, watch.name, schedules=[minute.create("interval"), hour.create("mine")], paused=False
    )  # fmt: skip
    [change] = compare_deployments(client, [watch], suffix)
    assert "schedule interval (every 60 s) removed" in change.changes
    settle(client, [change], suffix)
    assert [each.slug for each in read(client, "watch", suffix).schedules] == ["mine"]


@pytest.mark.usefixtures("world")
def test_up_leaves_what_users_set_from_one_start_to_the_next(client: SyncPrefectClient, tmp_path: Path) -> None:
    suffix = "-served"
    variables = dict(os.environ) | {"CONCEPTRY_DEPLOYMENT_SUFFIX": suffix}

    def serve(name: str, seconds: int) -> str:
        log = tmp_path / f"{name}.log"
        module = python_module("local.serve_flows", "--watch-every", str(seconds))
        child = Child("flows", module, variables, log, bool, tmp_path)
        child.ready = lambda: b"serve: ready" in child.output
        child.start()
        try:
            child.wait_until_ready(240)
        finally:
            child.request_stop()
            child.wait()
        return log.read_text(encoding="utf-8")

    serve("first", 3600)
    with pytest.raises(ObjectNotFound):
        read(client, "reap", suffix)
    watcher, train = read(client, "watcher", suffix), read(client, "train-concept", suffix)
    assert not watcher.paused
    assert not train.paused, "stopping pauses nothing, or a user's pause could not be told from it"
    client.update_deployment(train.id, DeploymentUpdate(paused=True, tags=train.tags))
    assert watcher.schedules == [], "this process starts it"
    daily = [(IntervalSchedule(interval=timedelta(days=1)), True)]
    client.create_deployment_schedules(watcher.id, daily)

    said = serve("second", 1800)
    assert "train-concept-served: unchanged; kept as set by users: paused" in said
    watcher, train = read(client, "watcher", suffix), read(client, "train-concept", suffix)
    assert train.paused
    assert watcher.parameters == {"every": 1800}
    schedules = {(each.slug, each.schedule.interval, each.active) for each in watcher.schedules}
    assert schedules == {(None, timedelta(days=1), True)}
