"""Calls in parallel that end at a deadline, whatever a call does.

The threads are daemons: neither the caller nor the end of the process waits for one that is late, as they would for the
threads of a ThreadPoolExecutor. Each has the context of the caller, by which Prefect finds the run.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

S = TypeVar("S")


@dataclass
class Outcome(Generic[S]):
    """What became of the items until the deadline.

    Attributes:
        failed: Items whose call raised, with the exception.
        late: Items whose call has not returned; it goes on in its thread.
        waiting: Items whose call has not begun, and never will.
    """

    failed: list[tuple[S, Exception]] = field(default_factory=list)
    late: list[S] = field(default_factory=list)
    waiting: list[S] = field(default_factory=list)


def run_each(act: Callable[[S], object], items: Sequence[S], *, jobs: int, deadline: float | None = None) -> Outcome[S]:
    """Call `act` on each item, in their order, in a pool of threads, and return at the deadline at the latest.

    Args:
        act: Function to call.
        items: Its arguments.
        jobs: Maximum of concurrent calls.
        deadline: Moment of `time.monotonic()`; None waits for all calls.
    """
    lock, stopped = threading.Lock(), threading.Event()
    waiting = list(range(len(items)))
    answers: queue.SimpleQueue[tuple[int, Exception | None]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            with lock:
                if stopped.is_set() or not waiting:
                    return
                index = waiting.pop(0)
            try:
                act(items[index])
                answers.put((index, None))
            except Exception as error:  # noqa: BLE001 - the caller reads it
                answers.put((index, error))

    for _ in range(min(jobs, len(items))):
        threading.Thread(target=copy_context().run, args=(work,), name="conceptry-pool", daemon=True).start()
    done: dict[int, Exception | None] = {}
    while len(done) < len(items):
        try:
            index, error = answers.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        done[index] = error
    with lock:
        stopped.set()
    rest = [index for index in range(len(items)) if index not in done]
    return Outcome(
        [(items[index], error) for index, error in sorted(done.items()) if error is not None],
        [items[index] for index in rest if index not in waiting],
        [items[index] for index in rest if index in waiting],
    )
