"""Server of the deployments in prefect.yaml, without a work pool or a worker; `conceptry up` runs it.

    PREFECT_API_URL=http://127.0.0.1:4200/api CONCEPTRY_REPO=... python -m local.serve_flows [--watch-every SECONDS]
        [--take-over] [--end-left-runs]

The watcher runs in this process (see local.resident_watcher). Trainings have a separate runner, which starts one more
than the settings allow, so that queued trainings do not block the other flows. Prefect's limits are not used here,
because they miscount if the server is stopped during a run.

What users set stays from one start to the next: pauses, schedules that they changed, switched off, added or deleted,
and triggers that they switched off. Without Vertex AI, `reap` is not created, and is paused if it exists.
"""

import argparse
import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.settings import get_current_settings

from conceptry.errors import SettingsError
from conceptry.installation import Installation
from conceptry.settings import Settings
from flows.automations import (
    compare_automations,
    declared_automations,
    deploy_automation,
    notification_block,
)
from flows.current_installation import build_installation
from flows.declared_deployments import DeclaredDeployment, read_declared
from flows.deployment_changes import DeploymentChange, compare_deployments, settle
from flows.deployments import REAP, TRAINING, WATCH, WATCHER, deployment_tags, refuse_foreign
from local.left_runs import end_left_runs
from local.resident_watcher import ResidentWatcher
from local.steady_runner import SteadyRunner
from tasks.training.served_trainer import own_training_servers

# Maximum of concurrent runs of the other flows: manual releases, a reap, and one that is ending.
OTHERS = 4
# Seconds for the current watch to end at shutdown.
PATIENCE = 0.8


def declared_deployments(watch_every: float, installation: Installation | None = None) -> list[DeclaredDeployment]:
    """Return the deployments declared in prefect.yaml, without a work pool, with another interval of the watcher.

    Args:
        watch_every: Seconds between two looks of the watcher.
        installation: Whose tag and suffix they get; None for neither.
    """
    suffix = installation.settings.deployment_suffix if installation else ""
    declared = read_declared(suffix, deployment_tags(installation.id if installation else None))
    return [_served(one, watch_every) for one in declared]


def _served(declared: DeclaredDeployment, watch_every: float) -> DeclaredDeployment:
    """Return a deployment without a work pool, and with this process's interval; it starts the watcher itself."""
    served = replace(declared, pool=None, job_variables={}, pull=None)
    if declared.flow == WATCH:
        return replace(served, parameters={"seconds": watch_every})
    if declared.flow == WATCHER:
        return replace(served, parameters={"every": watch_every}, schedules={})
    return served


def deployments(watch_every: float) -> list[RunnerDeployment]:
    """Return the deployments declared in prefect.yaml as on a server that has none, of no installation."""
    return [runner_deployment(DeploymentChange(one, None)) for one in declared_deployments(watch_every)]


def runner_deployment(change: DeploymentChange) -> RunnerDeployment:
    """Return a deployment as Prefect's runner registers it, with what users set."""
    declared, new = change.declared, change.found is None
    made = RunnerDeployment.from_entrypoint(
        declared.entrypoint,
        declared.name,
        schedules=[each.create(slug) for slug, each in declared.schedules.items() if new],
        parameters=dict(declared.parameters),
        triggers=declared.trigger_models(change.triggers_off),
        description=declared.description,
        tags=list(declared.tags),
        paused=change.paused,
    )
    if not new:
        # Prefect sends the fields that are set, and an empty list would delete what users added; see `settle`.
        made.model_fields_set.discard("schedules")
    return made


async def serve(
    installation: Installation, watch_every: float, *, take_over: bool = False, end_left: bool = False
) -> None:
    """Register the deployments, print that the server is ready, and run scheduled runs until this task is cancelled.

    Args:
        installation: Whose flows are served.
        watch_every: Seconds between two looks of the watcher.
        take_over: Whether to replace deployments of another installation.
        end_left: Whether to end runs of an earlier process first; only this one starts runs of this server.

    Raises:
        SettingsError: there are deployments of another installation, and `take_over` is false.
    """
    suffix = installation.settings.deployment_suffix
    with get_client(sync_client=True) as client:
        if not take_over:
            refuse_foreign(client, installation.id, suffix)
        for run in end_left_runs(client, installation.work) if end_left else ():
            print(f"serve: ended the run {run.name}, which was left {run.state_name}", flush=True)
        changes = _changes(client, installation, watch_every)
    poll = get_current_settings().runner.poll_frequency
    # A pause at the end could not be told from a user's.
    limit = installation.settings.max_parallel + 1
    trainings = SteadyRunner("trainings", query_seconds=poll, limit=limit, pause_on_shutdown=False)
    others = SteadyRunner("others", query_seconds=poll, limit=OTHERS, pause_on_shutdown=False)
    for change in changes:
        if change.declared.flow in (WATCH, WATCHER):
            await runner_deployment(change).aapply()
            continue
        runner = trainings if change.declared.flow == TRAINING else others
        await runner.aadd_deployment(runner_deployment(change))
    with get_client(sync_client=True) as client:
        settle(client, changes, suffix)
        _deploy_automations(client, installation)
    for change in changes:
        if change.kept:
            print(f"serve: {change}", flush=True)
    print(f"serve: ready, watching every {watch_every:g} s", flush=True)
    watcher = ResidentWatcher(installation)
    try:
        watcher.start()
        await _run_until_cancelled(trainings, others)
    finally:
        # In a thread, because the loop must be free to end what the watch waits for.
        await asyncio.shield(asyncio.to_thread(watcher.stop, PATIENCE))


def _changes(client: SyncPrefectClient, installation: Installation, watch_every: float) -> list[DeploymentChange]:
    """Return what is done with each deployment; without Vertex AI, `reap` is only paused, if it exists."""
    idle = {REAP} if installation.vertex is None else set()
    declared = [
        replace(one, paused=True) if one.flow in idle else one
        for one in declared_deployments(watch_every, installation)
    ]
    # Releases without a record paused deployments when they stopped, so an unknown pause is not a user's.
    changes = compare_deployments(client, declared, installation.settings.deployment_suffix, unknown="update")
    return [change for change in changes if change.found is not None or change.declared.flow not in idle]


def _deploy_automations(client: SyncPrefectClient, installation: Installation) -> None:
    """Create or update the automations of an installation; a block that does not exist must not stop the flows."""
    settings, block = installation.settings, None
    try:
        block = notification_block(client, settings.notification_block)
    except SettingsError as error:
        print(f"serve: notifications are not sent: {error}", flush=True)
    declared = declared_automations(installation.id, settings.deployment_suffix, block)
    for change in compare_automations(client, declared, installation.id):
        deploy_automation(client, change)


async def _run_until_cancelled(trainings: SteadyRunner, others: SteadyRunner) -> None:
    async with asyncio.TaskGroup() as group:
        for runner in (trainings, others):
            group.create_task(runner.start())
        # By now each runner has installed its own handler, which this one replaces.
        await asyncio.sleep(0)
        me = asyncio.current_task()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel if me else exit)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        SettingsError: settings are missing or wrong, or PREFECT_API_URL is not set.
    """
    parser = argparse.ArgumentParser(prog="local.serve_flows", description="Serve the deployments of prefect.yaml.")
    parser.add_argument("--watch-every", type=float, help="seconds between two watches (CONCEPTRY_WATCH_SECONDS)")
    parser.add_argument("--take-over", action="store_true", help="replace deployments of another installation")
    parser.add_argument("--end-left-runs", action="store_true", help="end runs of an earlier process; none runs now")
    given = parser.parse_args(arguments)
    installation = build_installation(Settings())
    settings = installation.settings
    if not get_current_settings().api.url:
        raise SettingsError("no Prefect server is configured", next_step="set PREFECT_API_URL")
    settings.work.mkdir(parents=True, exist_ok=True)
    with suppress(KeyboardInterrupt, asyncio.CancelledError), own_training_servers(installation.work):
        every = given.watch_every or settings.watch_seconds
        asyncio.run(serve(installation, every, take_over=given.take_over, end_left=given.end_left_runs))


if __name__ == "__main__":
    main()
