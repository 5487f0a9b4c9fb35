"""Deadlines for calls that may never return: storage clients have none, and neither has a file of a hung NFS server.

Such calls run in daemon threads. One that is late is abandoned: neither its caller nor the end of the process waits for
it, as they would for the threads of a ThreadPoolExecutor.
"""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import Any, TypeVar

from conceptry.errors import ConceptryError, UnexpectedError
from conceptry.isolation import isolate

T = TypeVar("T")
S = TypeVar("S")

MANY = 8
"""Failed calls after which `ask_each` stops asking."""

JOBS = 16
"""Maximum of concurrent requests."""


def call_within(seconds: float, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a thread and return its result, or raise its exception.

    Raises:
        TimeoutError: it did not return within `seconds`; its thread is abandoned.
    """
    answer: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
    _start(lambda: answer.put(_outcome(function, *arguments)))
    try:
        good, result = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer for {seconds:.0f} s") from None
    if not good:
        raise result
    return result  # type: ignore[no-any-return]


def in_parallel(function: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Call `function` on each item in a pool of threads; the first error stops it, without waiting for other calls."""
    given = list(items)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    answers: queue.SimpleQueue[tuple[int, tuple[bool, Any]]] = queue.SimpleQueue()
    stopped = threading.Event()
    for index in range(len(given)):
        waiting.put(index)

    def work() -> None:
        while not stopped.is_set():
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            answers.put((index, _outcome(function, given[index])))

    for _ in range(min(JOBS, len(given))):
        _start(work)
    results: dict[int, T] = {}
    try:
        for _ in given:
            index, (good, result) = answers.get()
            if not good:
                raise result
            results[index] = result
    finally:
        stopped.set()
    return [results[index] for index in range(len(given))]


def ask_each(function: Callable[[str], T], names: Iterable[str]) -> dict[str, T | ConceptryError]:
    """Call `function` on each name in a pool of threads; return results and errors by name.

    When MANY calls have failed, and more than have succeeded, the storage itself is taken to be unreachable: the
    remaining names get the last error at once. The order is random, so that a later call asks for other names first.

    Raises:
        ConceptryError: no call succeeded; the first error, unless one is unexpected.
    """
    given = random.sample(sorted(set(names)), len(set(names)))
    failed: list[ConceptryError] = []
    good: list[str] = []

    def ask(name: str) -> T | ConceptryError:
        if len(failed) >= MANY and len(failed) > len(good):
            return failed[-1]
        answer = isolate(name, lambda: function(name), lambda error: error)
        if isinstance(answer, ConceptryError):
            failed.append(answer)
        else:
            good.append(name)
        return answer

    answers = dict(zip(given, in_parallel(ask, given), strict=True))
    if failed and not good and not any(isinstance(error, UnexpectedError) for error in failed):
        raise failed[0]
    return answers


def _start(run: Callable[[], None]) -> None:
    # With the caller's context, by which Prefect finds the log of the run.
    threading.Thread(target=copy_context().run, args=(run,), name="dvc-remote", daemon=True).start()


def _outcome(function: Callable[..., Any], *arguments: Any) -> tuple[bool, Any]:
    try:
        return True, function(*arguments)
    except BaseException as error:  # noqa: BLE001 - raised by the caller's thread
        return False, error
