"""Servers that are started, supervised and stopped together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from local.child_process import Child, StackError
from tasks.locks import try_hold

START_TIMEOUT = 600.0
"""Seconds until a server must respond. Prefect needs 15 to 30 s on two idle cores and minutes on busy ones."""
RESTARTS = 5
"""Servers that are started again within an hour before `up` gives up."""


class ServerGroup:
    """Child processes of one root folder.

    Use it as a context manager: leaving the block stops every process.

    Args:
        root: Folder of the set-up, for messages.
        lock: File that `open_alone` locks.
        report: Called with a few words when a server had to be started again.
        on_ready: Called with a few words when a server is ready.
    """

    def __init__(
        self,
        root: Path,
        lock: Path,
        report: Callable[[str], None] = lambda _: None,
        on_ready: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._root, self._lock_file, self._report, self._on_ready = root, lock, report, on_ready
        self._children: list[Child] = []
        self._lock = ExitStack()

    def check(self) -> None:
        """Raise StackError if one of the servers has ended."""
        for child in self._children:
            child.check()

    def run_until_interrupted(self) -> None:
        """Block until Ctrl-C or SIGTERM. A server that ended is started again; trainings continue meanwhile.

        Raises:
            StackError: a server ended RESTARTS times within an hour, or does not start again.
            KeyboardInterrupt: the normal end.
        """
        restarts: list[float] = []
        while True:
            for child in self._children:
                if child.ended:
                    restarts = [moment for moment in restarts if time.monotonic() - moment < 3600]
                    if len(restarts) >= RESTARTS:
                        child.check()
                    restarts.append(time.monotonic())
                    child.start()
                    self._report(f"{child.title} had ended and is started again, see {child.log}")
                    self._await(child)
                    self._report(f"{child.title} responds again")
            time.sleep(0.5)

    def stop(self) -> None:
        """Stop every process: the flows first, while the server can still record the final states of their runs."""
        for child in reversed(self._children):
            child.request_stop()
            child.wait()
        self._children.clear()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def open_alone(self) -> None:
        """Hold the set-up's lock: two Prefect servers on one database would corrupt it.

        Raises:
            StackError: another process serves this folder.
        """
        held = self._lock.enter_context(try_hold(self._lock_file, f"process {os.getpid()}"))
        if held is None:
            raise StackError(f"{self._root} is open in another terminal", next_step="stop it there")

    def _begin(self, child: Child) -> None:
        self._children.append(child)
        child.start()

    def _await(self, child: Child) -> None:
        seconds = child.wait_until_ready(START_TIMEOUT)
        self._on_ready(f"{child.title} is up ({seconds:.0f} s)")


def says(words: str, child: Child) -> Child:
    """Make a child ready once it has printed `words`."""
    child.ready = lambda: words.encode() in child.output
    return child
