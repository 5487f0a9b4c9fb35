"""Prefect tasks whose result is a folder of a training run, cached so that a retried run does not repeat them.

Such a task makes one folder from another. Its record is kept in the run's folder under the task's name and is valid
only while the folder that it made exists: a retried run shows its finished tasks as Cached and repeats those whose
folder was cleared. If the run's folder has an archive, both are kept there as well, and restored on another machine.
"""

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from prefect import get_run_logger, task
from prefect.context import TaskRunContext

from conceptry.errors import TransientError
from tasks.disk_full import disk_errors
from tasks.retries import RETRIES
from tasks.run_folder import RunFolder

P = ParamSpec("P")
R = TypeVar("R")


def cached_task(
    name: str, made: Callable[[RunFolder], Path], *, archived: bool = True
) -> Callable[[Callable[Concatenate[RunFolder, P], R]], Callable[Concatenate[RunFolder, P], R]]:
    """Return a decorator that makes a task of a function whose first argument is the run's folder.

    Args:
        name: Name of the task in Prefect's UI.
        made: Returns the folder that the task makes; it exists, complete, once the task is done.
        archived: Whether the archive keeps it: the same fingerprint always gives the same folder.
    """
    key = name.replace(" ", "-")

    def decorate(function: Callable[Concatenate[RunFolder, P], R]) -> Callable[Concatenate[RunFolder, P], R]:
        def cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
            del context, parameters
            return key

        @wraps(function)
        def told(folder: RunFolder, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with disk_errors(folder.root):
                return function(folder, *args, **kwargs)

        wrapped = task(name=name, cache_key_fn=cache_key, persist_result=True, **RETRIES)(told)

        def run(folder: RunFolder, /, *args: P.args, **kwargs: P.kwargs) -> R:
            done = made(folder).is_dir() and _readable(folder.results / key)
            if archived and not done:
                done = _restore(folder, key, made(folder))
            cached = wrapped.with_options(result_storage=folder.results, refresh_cache=not done)
            result = cached(folder, *args, **kwargs)
            if archived:
                _keep(folder, key, made(folder))
            return result

        return run

    return decorate


def _restore(folder: RunFolder, key: str, made: Path) -> bool:
    if folder.archive is None:
        return False
    with disk_errors(folder.root):
        restored = folder.archive.fetch(key, made, folder.results / key)
    if restored:
        get_run_logger().info("%s: restored from where another machine left it", key)
    return restored


def _keep(folder: RunFolder, key: str, made: Path) -> None:
    if folder.archive is None:
        return
    try:
        with disk_errors(folder.root):
            folder.archive.keep(key, made, folder.results / key)
    except TransientError as error:
        get_run_logger().warning("%s is on this machine only: %s", key, error)


def _readable(record: Path) -> bool:
    """Whether Prefect's record of a task is complete; its writer may have been killed."""
    try:
        json.loads(record.read_bytes())
    except (OSError, ValueError):
        return False
    return True
