"""Locks between the processes of one machine, with flock.

The kernel releases such a lock when the last process that holds it has ended, however it ended. The trainer inherits
the lock of its run's folder, so that a retry never starts a second trainer while the first one is still shutting down.
A held lock's file contains the name of the holder; an orderly release empties the file. Therefore a free lock whose
file names a run means that this run was killed.
"""

import fcntl
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conceptry.errors import TransientError

PATIENCE = 600.0
"""Seconds to wait for a process that reads or writes; its own requests have deadlines far below."""
# Seconds between two attempts, and between two calls of `on_wait`.
_POLL, _REMIND = 0.1, 600.0


@contextmanager
def hold(
    path: Path, holder: str, on_wait: Callable[[str], None] = lambda _: None, *, timeout: float | None = PATIENCE
) -> Iterator[int]:
    """Hold the lock file at `path` while the block runs; yields its file descriptor.

    Args:
        path: Lock file; it is created if necessary and never deleted.
        holder: Name of the run or process that holds it.
        on_wait: Called with the name of the other holder when the wait begins, and every ten minutes.
        timeout: Seconds to wait for the lock; None for no limit, where a holder may train for hours.

    Raises:
        TransientError: another process held the lock for the whole time; the message names it.
    """
    descriptor = _open(path)
    try:
        _wait(descriptor, path, on_wait, timeout)
        yield from _held(descriptor, holder)
    finally:
        os.close(descriptor)


@contextmanager
def try_hold(path: Path, holder: str) -> Iterator[int | None]:
    """Hold the lock file at `path` while the block runs, or yield None at once if another process holds it."""
    descriptor = _open(path)
    try:
        if _try(descriptor):
            yield from _held(descriptor, holder)
        else:
            yield None
    finally:
        os.close(descriptor)


@contextmanager
def slot(places: Path, count: int, holder: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold one of the machine's `count` slots for training while the block runs.

    Prefect's limits miscount if the server is stopped during a run; the kernel releases these locks in any case.
    """
    waited = False
    while True:
        for place in range(count):
            with try_hold(places / f"{place}.lock", holder) as held:
                if held is not None:
                    yield
                    return
        if not waited:
            on_wait()
        waited = True
        time.sleep(1.0)


def is_held(path: Path) -> bool:
    """Whether another process holds the lock file at `path`."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return not _try(file.fileno(), fcntl.LOCK_SH)


def holder_of(path: Path) -> str | None:
    """Return the name of the process or run that holds the lock file at `path`; None if it is free."""
    return path.read_text(encoding="utf-8", errors="replace") if is_held(path) else None


def abandoned(path: Path, holder: str) -> bool:
    """Whether `holder` held this lock and was killed before it released it."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if not _try(file.fileno()):
            return False
        return file.read().decode(errors="replace") == holder


def run_id() -> str:
    """Return the name of a lock's holder: the Prefect run, or the process outside of one."""
    process = f"process {os.getpid()}"
    if "prefect" not in sys.modules:  # no run either; commands without Prefect hold locks as well
        return process
    from prefect.runtime import flow_run

    return str(flow_run.id or process)


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _try(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(descriptor: int, path: Path, on_wait: Callable[[str], None], timeout: float | None) -> None:
    """Try until the lock is free; unlike a blocking flock, this lets a signal end the wait in any thread."""
    start = time.monotonic()
    remind = start
    while not _try(descriptor):
        now = time.monotonic()
        if timeout is not None and now - start > timeout:
            raise TransientError(
                f"{_holder(descriptor)} has held {path} for {timeout:.0f} s",
                next_step=f"wait for its end and try again; `fuser {shlex.quote(str(path))}` names its process, "
                "which may be ended if it hangs",
            )
        if now >= remind:
            on_wait(_holder(descriptor))
            remind += _REMIND
        time.sleep(_POLL)


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"


def _held(descriptor: int, holder: str) -> Iterator[int]:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, holder.encode(), 0)
    try:
        yield descriptor
    finally:
        os.ftruncate(descriptor, 0)
