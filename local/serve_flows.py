"""Server of the deployments in prefect.yaml, without a work pool or a worker; `conceptry up` runs it.

    PREFECT_API_URL=http://127.0.0.1:4200/api CONCEPTRY_REPO=... python -m local.serve_flows [--watch-every SECONDS]
        [--take-over]

The watcher runs in this process (see local.resident_watcher). Trainings have a separate runner, which starts one more
than the settings allow, so that queued trainings do not block the other flows. Prefect's limits are not used here,
because they miscount if the server is stopped during a run.
"""

import argparse
import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentTriggerTypes
from prefect.schedules import Schedule
from prefect.settings import get_current_settings
from prefect.utilities.templating import apply_values
from pydantic import TypeAdapter

import conceptry
from conceptry.errors import SettingsError
from conceptry.installation import Installation
from conceptry.settings import Settings
from flows.current_installation import build_installation
from flows.deployments import TRAINING, WATCH, WATCHER, deployment_tags, refuse_foreign
from local.resident_watcher import ResidentWatcher
from local.steady_runner import SteadyRunner

FILE = Path(conceptry.__path__[0]).parent / "prefect.yaml"
REAP = "reap"
# Maximum of concurrent runs of the other flows: manual releases, a reap, and one that is ending.
OTHERS = 4
# Seconds for the current watch to end at shutdown.
PATIENCE = 6.0
_TRIGGER: TypeAdapter[Any] = TypeAdapter(DeploymentTriggerTypes)


def deployments(watch_every: float, installation: Installation | None = None) -> list[RunnerDeployment]:
    """Return the deployments declared in prefect.yaml, with another interval of the watcher, which has no schedule.

    Args:
        watch_every: Seconds between two looks of the watcher.
        installation: Whose tag and suffix they get; None for neither.
    """
    declared = yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]
    outputs = {"installation": {"tags": deployment_tags(installation.id if installation else None)}}
    suffix = installation.settings.deployment_suffix if installation else ""
    return [_deployment(apply_values(one, outputs), watch_every, suffix) for one in declared]


def _deployment(declared: Mapping[str, Any], watch_every: float, suffix: str) -> RunnerDeployment:
    schedules = [_schedule(schedule) for schedule in declared.get("schedules", ())]
    if declared["name"] == WATCHER:
        # With the declared slug, because the server keeps schedules whose slug is missing in an update.
        schedules = [replace(schedule, active=False) for schedule in schedules]
        declared = {**declared, "parameters": {"every": watch_every}}
    if declared["name"] == WATCH:
        declared = {**declared, "parameters": {"seconds": watch_every}}
    return RunnerDeployment.from_entrypoint(
        declared["entrypoint"],
        declared["name"] + suffix,
        schedules=schedules,
        parameters=declared.get("parameters"),
        triggers=[_TRIGGER.validate_python(trigger) for trigger in declared.get("triggers", ())],
        description=declared.get("description"),
        tags=declared.get("tags"),
        paused=False,
    )


def _schedule(declared: Mapping[str, Any]) -> Schedule:
    if "interval" in declared:
        return Schedule(**{**declared, "interval": timedelta(seconds=declared["interval"])})
    return Schedule(**declared)


async def serve(installation: Installation, watch_every: float, *, take_over: bool = False) -> None:
    """Register the deployments, print that the server is ready, and run scheduled runs until this task is cancelled.

    Args:
        installation: Whose flows are served.
        watch_every: Seconds between two looks of the watcher.
        take_over: Whether to replace deployments of another installation.

    Raises:
        SettingsError: there are deployments of another installation, and `take_over` is false.
    """
    if not take_over:
        with get_client(sync_client=True) as client:
            refuse_foreign(client, installation.id, installation.settings.deployment_suffix)
    poll = get_current_settings().runner.poll_frequency
    trainings = SteadyRunner("trainings", query_seconds=poll, limit=installation.settings.max_parallel + 1)
    others = SteadyRunner("others", query_seconds=poll, limit=OTHERS)
    watcher: ResidentWatcher | None = None
    for deployment in deployments(watch_every, installation):
        if deployment.flow_name in (WATCH, WATCHER):
            registered = await deployment.aapply()
            if deployment.flow_name == WATCHER:
                watcher = ResidentWatcher(registered, installation)
            continue
        if deployment.flow_name == REAP and installation.vertex is None:
            continue
        runner = trainings if deployment.flow_name == TRAINING else others
        await runner.aadd_deployment(deployment)
    print(f"serve: ready, watching every {watch_every:g} s", flush=True)
    try:
        if watcher:
            watcher.start()
        await _run_until_cancelled(trainings, others)
    finally:
        if watcher:
            # In a thread, because the loop must be free to end what the watch waits for.
            await asyncio.shield(asyncio.to_thread(watcher.stop, PATIENCE))


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
    given = parser.parse_args(arguments)
    installation = build_installation(Settings())
    settings = installation.settings
    if not get_current_settings().api.url:
        raise SettingsError("no Prefect server is configured", next_step="set PREFECT_API_URL")
    settings.work.mkdir(parents=True, exist_ok=True)
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(serve(installation, given.watch_every or settings.watch_seconds, take_over=given.take_over))


if __name__ == "__main__":
    main()
