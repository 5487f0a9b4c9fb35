"""Retry policies of the Prefect tasks: a task is retried only if its error is transient."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from prefect import Task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from conceptry.errors import ConceptryError
from tasks.disk_full import disk_full

MINUTE = 30.0
"""Seconds between the first and the last attempt."""


def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether the error of a failed task is transient (`ConceptryError.retryable`), or a full disk.

    One that passes only after the last attempt is not: the run ends at once, and is tried again at that moment.
    """
    del task, task_run
    error = state.result(raise_on_failure=False)
    moment = getattr(error, "not_before", None)
    if isinstance(error, ConceptryError) and moment is not None:
        return bool(error.retryable and moment < datetime.now(UTC) + timedelta(seconds=MINUTE))
    if isinstance(error, ConceptryError):
        return error.retryable
    return isinstance(error, OSError) and disk_full(error, "") is not None


class Retries(TypedDict):
    """Retry settings of a task."""

    retries: int
    retry_delay_seconds: Callable[[int], list[float]]
    retry_jitter_factor: float
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], bool]


class UncachedRetries(Retries):
    """Retry settings of a task whose result is never reused."""

    cache_policy: CachePolicy


RETRIES = Retries(
    retries=4, retry_delay_seconds=exponential_backoff(2), retry_jitter_factor=0.3, retry_condition_fn=is_transient
)
"""Five attempts within about a minute, with pauses of 2, 4, 8 and 16 seconds and up to 30 % jitter."""

RETRY_TRANSIENT = UncachedRetries(**RETRIES, cache_policy=NO_CACHE)
"""RETRIES for tasks with I/O; their inputs (sessions, settings) are not hashed for a cache."""
