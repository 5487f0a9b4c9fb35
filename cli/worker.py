"""`conceptry worker`: check the settings, then run Prefect's worker of this installation's work pool, and watch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from prefect.settings import get_current_settings

from conceptry.errors import SettingsError
from flows.doctor import DEPLOYMENTS, check_installation
from flows.pull_step import worker_installation
from flows.work_pool import pool_name
from local.console import out, print_check
from local.resident_watcher import ResidentWatcher
from tasks.processes import python_module

PATIENCE = 6.0
"""Seconds for the current watch to end when the worker has ended."""
GRACE = 20.0
"""Seconds until a worker that does not end gets the signal again."""
LOOK = 0.5
"""Seconds between two looks whether the worker has ended."""


def command(
    limit: Annotated[int, typer.Option("--limit", help="Runs at the same time.", min=1)] = 4,
    check: Annotated[bool, typer.Option("--check", help="Only check; start no worker.")] = False,
) -> None:
    """Check the settings in the environment, then run `prefect worker` for this installation's work pool, and watch.

    It watches git and the Hub while no other worker of the installation does, beside the runs that --limit counts.

    Wrong settings end it at once, with all of them in one message. What may pass, for example a Hub that cannot be
    reached, is printed, and the worker starts. Exit code of --check: 0 all checks passed, 1 a check failed.
    """
    installation = worker_installation()
    if installation.settings.backend == "vertex":
        installation.vertex_settings()
    if not get_current_settings().api.url:
        raise SettingsError("no Prefect server is configured", next_step="set PREFECT_API_URL")
    make_writable(installation.work.root)
    console, failed = out(), 0
    for result in check_installation(installation, without=(DEPLOYMENTS,)):
        failed += not result.ok
        print_check(console, result)
    if check:
        raise typer.Exit(1 if failed else 0)
    pool = pool_name(installation.settings)
    start = python_module("prefect", "worker", "start", "--pool", pool, "--limit", str(limit))
    sys.stdout.flush()
    raise typer.Exit(run_worker(start, ResidentWatcher(installation)))


def run_worker(command: list[str], watcher: ResidentWatcher) -> int:
    """Run a worker until it ends by itself, by SIGTERM or by Ctrl-C, and watch meanwhile; return its exit code.

    A worker that has not ended GRACE seconds after a signal gets it again: Prefect's worker loses a signal that comes
    while a run ends, and at the second one ends at once. Runs that it started go on.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    with subprocess.Popen(command, env={**os.environ, "PYTHONSAFEPATH": "1"}, start_new_session=True) as worker:
        watcher.start()
        while worker.poll() is None:
            if stop.wait(LOOK):
                code = _end(worker)
                break
        else:
            code = worker.returncode
        watcher.stop(PATIENCE)
    return code if code >= 0 else 128 - code


def _end(worker: subprocess.Popen[bytes]) -> int:
    while True:
        worker.terminate()
        with suppress(subprocess.TimeoutExpired):
            return worker.wait(GRACE)


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
