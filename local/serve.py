"""Serve the deployments of prefect.yaml from this process, without a work pool or a worker: what `conceptry up` runs.

    PREFECT_API_URL=http://127.0.0.1:4200/api CONCEPTRY_REPO=... python -m local.serve [--watch-every SECONDS]

Watches run in this process (see local.in_process_watcher). Trainings have a runner of their own, which starts as many
as the settings allow and one more: a queue of them never keeps the others from their work. Prefect's limits are
left out here: their counts do not survive a server that is stopped in the middle of a run.
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
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentTriggerTypes
from prefect.runner import Runner
from prefect.schedules import Schedule
from prefect.settings import get_current_settings
from pydantic import TypeAdapter

import conceptry
from conceptry.errors import SettingsError
from conceptry.installation import Installation
from conceptry.settings import Settings
from flows.installation import build_installation
from flows.training_runs import TRAINING
from local.in_process_watcher import InProcessWatcher

FILE = Path(conceptry.__path__[0]).parent / "prefect.yaml"
WATCH, REAP = "watch", "reap"
# How many runs of the other flows at a time: a release by hand, a retrain, and what is just ending.
OTHERS = 4
# Seconds for the watch that is at work when we are asked to end.
PATIENCE = 6.0
_TRIGGER: TypeAdapter[Any] = TypeAdapter(DeploymentTriggerTypes)


def deployments(watch_every: float, file: Path = FILE) -> list[RunnerDeployment]:
    """Read the declarations of prefect.yaml; only the watcher's interval is another one."""
    declared = yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"]
    return [_deployment(one, watch_every) for one in declared]


def _deployment(declared: Mapping[str, Any], watch_every: float) -> RunnerDeployment:
    schedules = [_schedule(schedule) for schedule in declared.get("schedules", ())]
    if declared["name"] == WATCH:
        # Under its own slug: a server keeps the schedules whose slug it is not told again.
        schedules = [replace(schedule, interval=timedelta(seconds=watch_every)) for schedule in schedules]
    return RunnerDeployment.from_entrypoint(
        declared["entrypoint"],
        declared["name"],
        schedules=schedules,
        triggers=[_TRIGGER.validate_python(trigger) for trigger in declared.get("triggers", ())],
        description=declared.get("description"),
        tags=declared.get("tags"),
        paused=False,
    )


def _schedule(declared: Mapping[str, Any]) -> Schedule:
    if "interval" in declared:
        return Schedule(**{**declared, "interval": timedelta(seconds=declared["interval"])})
    return Schedule(**declared)


async def serve(installation: Installation, watch_every: float) -> None:
    """Register the deployments, say so, and run what is scheduled until this task is cancelled."""
    poll = get_current_settings().runner.poll_frequency
    trainings = Runner("trainings", query_seconds=poll, limit=installation.settings.max_parallel + 1)
    others = Runner("others", query_seconds=poll, limit=OTHERS)
    watcher: InProcessWatcher | None = None
    for deployment in deployments(watch_every):
        if deployment.name == WATCH:
            watcher = InProcessWatcher(await deployment.aapply(), installation)
            continue
        if deployment.name == REAP and installation.vertex is None:
            continue
        runner = trainings if deployment.name == TRAINING else others
        await runner.aadd_deployment(deployment)
    print(f"serve: ready, watching every {watch_every:g} s", flush=True)
    try:
        if watcher:
            watcher.start()
        await _run_until_cancelled(trainings, others)
    finally:
        if watcher:
            # In a thread, or the loop could not end what the watch waits for.
            await asyncio.shield(asyncio.to_thread(watcher.stop, PATIENCE))


async def _run_until_cancelled(trainings: Runner, others: Runner) -> None:
    async with asyncio.TaskGroup() as group:
        for runner in (trainings, others):
            group.create_task(runner.start())
        # Each runner has put its own handler in place by the time this one replaces them.
        await asyncio.sleep(0)
        me = asyncio.current_task()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel if me else exit)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        SettingsError: settings are missing or wrong, or PREFECT_API_URL is not set.
    """
    parser = argparse.ArgumentParser(prog="local.serve", description="Serve the deployments of prefect.yaml.")
    parser.add_argument("--watch-every", type=float, help="seconds between two watches (CONCEPTRY_WATCH_SECONDS)")
    given = parser.parse_args(arguments)
    installation = build_installation(Settings())
    settings = installation.settings
    if not get_current_settings().api.url:
        raise SettingsError("no Prefect server is configured", next_step="set PREFECT_API_URL")
    settings.work.mkdir(parents=True, exist_ok=True)
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(serve(installation, given.watch_every or settings.watch_seconds))


if __name__ == "__main__":
    main()
