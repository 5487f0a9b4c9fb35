"""How the steps of a flow behave: which are tried again, and which a retried run finds done.

A step is a Prefect task that turns one folder into the next. It is tried again only when its error can pass
(`TransientError`, a lost race); a broken picture stays broken. A step's record is kept in the run's own folder under
the step's name, and counts only as long as the folder that the step made is whole: so a retried run shows its finished
steps as Cached, and does again what somebody cleared away.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypedDict, TypeVar

from prefect import Task, task
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import exponential_backoff

from conceptry.errors import ConceptryError
from flows.runs import RunFolder

P = ParamSpec("P")
R = TypeVar("R")


def can_pass(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether the error of a failed task may be gone a little later."""
    del task, task_run
    error = state.result(raise_on_failure=False)
    return isinstance(error, ConceptryError) and error.retryable


class Patience(TypedDict):
    """Retry settings of a task, for `@task(**PATIENT)`."""

    retries: int
    retry_delay_seconds: Callable[[int], list[float]]
    retry_jitter_factor: float
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], bool]


PATIENT = Patience(
    retries=4, retry_delay_seconds=exponential_backoff(2), retry_jitter_factor=0.3, retry_condition_fn=can_pass
)
"""Five attempts within about a minute: 2, 4, 8 and 16 seconds between them, and up to 30 % more."""


def step(
    name: str, made: Callable[[RunFolder], Path]
) -> Callable[[Callable[Concatenate[RunFolder, P], R]], Callable[Concatenate[RunFolder, P], R]]:
    """Make a step of a function whose first argument is the run's folder.

    Args:
        name: of the task, as the UI shows it.
        made: the folder that appears, whole, when the step is done.
    """
    key = name.replace(" ", "-")

    def decorate(function: Callable[Concatenate[RunFolder, P], R]) -> Callable[Concatenate[RunFolder, P], R]:
        def cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
            del context, parameters
            return key

        wrapped = task(name=name, cache_key_fn=cache_key, persist_result=True, **PATIENT)(function)

        def run(folder: RunFolder, /, *args: P.args, **kwargs: P.kwargs) -> R:
            done = made(folder).is_dir() and _readable(folder.results / key)
            return wrapped.with_options(result_storage=folder.results, refresh_cache=not done)(folder, *args, **kwargs)

        return run

    return decorate


def _readable(record: Path) -> bool:
    """Whether Prefect's record of a step was written to its end; a process may be killed while it writes."""
    try:
        json.loads(record.read_bytes())
    except (OSError, ValueError):
        return False
    return True
