"""Folders of trainings that nobody needs any more: failed ones, and such whose inputs git no longer asks for."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from prefect.client.schemas.objects import FlowRun

from conceptry.actions import Plan
from conceptry.installation import Installation
from flows.training_runs import TrainingRuns
from tasks.locks import is_held

DAY = 86400.0


def clear_old_run_folders(installation: Installation, plan: Plan, runs: TrainingRuns) -> list[str]:
    """Delete the folders of trainings that were last written long ago, and return their fingerprints.

    Those are kept that the plan names, because a user may retry a failed one, those whose run has not ended, and those
    that a process of this machine holds.

    Args:
        installation: Installation, for its scratch folder and the age.
        plan: Current plan of all concepts.
        runs: Training runs of the installation.
    """
    oldest = time.time() - installation.settings.run_folder_days * DAY
    planned = {one.training.fingerprint for one in plan.concepts}
    old = [
        folder
        for folder in _folders(installation.work.runs)
        if folder.name not in planned and _last_written(folder) < oldest and not is_held(folder / "lock")
    ]
    latest = runs.latest([folder.name for folder in old]) if old else {}
    unused = [folder for folder in old if folder.name not in latest or _has_ended(latest[folder.name])]
    for folder in unused:
        shutil.rmtree(folder, ignore_errors=True)
    return [folder.name for folder in unused]


def _has_ended(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def _folders(runs: Path) -> Iterator[Path]:
    if runs.is_dir():
        yield from (folder for folder in sorted(runs.iterdir()) if folder.is_dir())


def _last_written(folder: Path) -> float:
    """Return when a folder, or one of the files and folders in it, was last written, in seconds of the epoch."""
    return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
