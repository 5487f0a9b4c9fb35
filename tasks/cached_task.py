"""Tasks whose result is a folder of a training run: a run that is tried again finds them done.

Such a task turns one folder into the next. Its record is kept in the run's own folder under the task's name, and counts
only as long as the folder that it made is whole: a retried run shows its finished tasks as Cached, and repeats those
whose folder was cleared away.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from prefect import task
from prefect.context import TaskRunContext

from tasks.retries import RETRIES
from tasks.run_folder import RunFolder

P = ParamSpec("P")
R = TypeVar("R")


def cached_task(
    name: str, made: Callable[[RunFolder], Path]
) -> Callable[[Callable[Concatenate[RunFolder, P], R]], Callable[Concatenate[RunFolder, P], R]]:
    """Make a task of a function whose first argument is the run's folder.

    Args:
        name: Name of the task in Prefect's UI.
        made: Returns the folder that appears, whole, when the task is done.
    """
    key = name.replace(" ", "-")

    def decorate(function: Callable[Concatenate[RunFolder, P], R]) -> Callable[Concatenate[RunFolder, P], R]:
        def cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
            del context, parameters
            return key

        wrapped = task(name=name, cache_key_fn=cache_key, persist_result=True, **RETRIES)(function)

        def run(folder: RunFolder, /, *args: P.args, **kwargs: P.kwargs) -> R:
            done = made(folder).is_dir() and _readable(folder.results / key)
            return wrapped.with_options(result_storage=folder.results, refresh_cache=not done)(folder, *args, **kwargs)

        return run

    return decorate


def _readable(record: Path) -> bool:
    """Whether Prefect's record of a task was written to its end; a process may be killed while it writes."""
    try:
        json.loads(record.read_bytes())
    except (OSError, ValueError):
        return False
    return True
