"""`conceptry worker`: check the settings, then run Prefect's workers of this installation's work pool, and watch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer
from prefect.settings import get_current_settings

from conceptry.errors import SettingsError
from conceptry.installation import Installation
from flows.doctor import DEPLOYMENTS, check_installation
from flows.hub_plan_check import TITLE as HUB_PLAN
from flows.pull_step import worker_installation
from flows.training_places import OTHERS, QUEUE, other_worker_name, training_worker_name
from flows.work_pool import pool_name
from local.console import out, print_check
from local.resident_watcher import ResidentWatcher
from tasks.processes import python_module
from tasks.training.served_trainer import own_training_servers

PATIENCE = 6.0
"""Seconds for the current watch to end when the workers have ended."""
GRACE = 20.0
"""Seconds until a worker that does not end gets the signal again."""
LOOK = 0.5
"""Seconds between two looks whether a worker has ended."""
POLL = "2"
"""Seconds between two requests of a worker for runs, unless PREFECT_WORKER_QUERY_SECONDS is set."""


def command(
    limit: Annotated[
        int, typer.Option("--limit", help="Runs at the same time, apart from trainings and the watcher.", min=1)
    ] = 4,
    check: Annotated[bool, typer.Option("--check", help="Only check; start no worker.")] = False,
) -> None:
    """Check the settings in the environment, then run Prefect's workers for this installation's work pool, and watch.

    One Prefect worker takes trainings, as many at the same time as CONCEPTRY_MAX_PARALLEL says; one takes the other
    runs, so that trainings do not keep them waiting. It watches git and the Hub while no other worker of the
    installation does.

    Wrong settings end it at once, with all of them in one message. What may pass, for example a Hub that cannot be
    reached, is printed, and the workers start. Exit code of --check: 0 all checks passed, 1 a check failed.
    """
    installation = worker_installation()
    if installation.settings.backend == "vertex":
        installation.vertex_settings()
    if not get_current_settings().api.url:
        raise SettingsError("no Prefect server is configured", next_step="set PREFECT_API_URL")
    make_writable(installation.work.root)
    console, failed = out(), 0
    for result in check_installation(installation, without=(DEPLOYMENTS, HUB_PLAN)):
        failed += not result.ok
        print_check(console, result)
    if check:
        raise typer.Exit(1 if failed else 0)
    sys.stdout.flush()
    with own_training_servers(installation.work):
        code = run_workers(worker_commands(installation, limit), ResidentWatcher(installation))
    raise typer.Exit(code)


def worker_commands(installation: Installation, limit: int) -> list[list[str]]:
    """Return the commands that start the Prefect workers of a machine.

    Args:
        installation: Installation whose runs they take.
        limit: Runs at the same time, apart from trainings.
    """
    trainings, work = installation.settings.max_parallel, installation.work
    workers = (
        (training_worker_name(work, trainings), QUEUE, trainings),
        (other_worker_name(work), OTHERS, limit),
    )
    start = python_module("prefect", "worker", "start", "--pool", pool_name(installation.settings))
    return [
        [*start, "--name", name, "--work-queue", queue, "--limit", str(at_once)] for name, queue, at_once in workers
    ]


def run_workers(commands: Sequence[Sequence[str]], watcher: ResidentWatcher) -> int:
    """Run workers until one ends by itself, or all by SIGTERM or Ctrl-C, and watch meanwhile; return the exit code.

    A worker that has not ended GRACE seconds after a signal gets it again: Prefect's worker loses a signal that comes
    while a run ends, and at the second one ends at once. Runs that it started go on.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    variables = {"PREFECT_WORKER_QUERY_SECONDS": POLL, **os.environ, "PYTHONSAFEPATH": "1"}
    with ExitStack() as stack:
        workers = [
            stack.enter_context(subprocess.Popen(command, env=variables, start_new_session=True))
            for command in commands
        ]
        watcher.start()
        while all(worker.poll() is None for worker in workers) and not stop.wait(LOOK):
            pass
        ended = [worker.returncode for worker in workers if worker.returncode is not None]
        codes = ended or _end(workers)
        _end(workers)
        watcher.stop(PATIENCE)
    code = next((code for code in codes if code), 0)
    return code if code >= 0 else 128 - code


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """End workers, and return their exit codes."""
    while alive := [worker for worker in workers if worker.poll() is None]:
        for worker in alive:
            worker.terminate()
        until = time.monotonic() + GRACE
        for worker in alive:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(max(0.0, until - time.monotonic()))
    return [worker.returncode for worker in workers]


def make_writable(folder: Path) -> None:
    """Create the work folder, and check that this user may write to it.

    Raises:
        SettingsError: the user may not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"CONCEPTRY_WORK cannot be created: {error}", next_step="create it for this user") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SettingsError(f"CONCEPTRY_WORK={folder} cannot be written", next_step="give it to the user of the worker")
