"""Guard process: runs one command and stops it with all its descendants when the parent closes the pipe or dies.

    python -m local.process_guard GRACE COMMAND...

The parent holds the other end of this program's standard input. When it is closed, by the parent or because the parent
was killed, COMMAND gets a SIGTERM and GRACE seconds to shut down; then its remaining descendants, in any session, are
killed. A signal to a process group would miss some: Prefect's runner starts flow runs, which start the trainer in a
separate session.

The exit code is COMMAND's (128 + the signal's number when a signal ended it).
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil

_PR_SET_CHILD_SUBREAPER = 36


def main(arguments: list[str]) -> int:
    """Run the command in `arguments[1:]`; `arguments[0]` is the grace in seconds."""
    grace, command = float(arguments[0]), arguments[1:]
    _adopt_orphans()
    wake, wake_writer = os.pipe()
    for end in (wake, wake_writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and stops its children in order

    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    code: int | None = None
    while code is None:
        readable, _, _ = select.select([sys.stdin, wake], [], [])
        woken_by = os.read(wake, 64) if wake in readable else b""
        code = _reap(child.pid)
        if sys.stdin in readable or signal.SIGTERM in woken_by or signal.SIGHUP in woken_by:
            break
    if code is None:
        os.kill(child.pid, signal.SIGTERM)
    code = _sweep(child.pid, code, grace)
    child.returncode = code
    return 128 - code if code < 0 else code


def _adopt_orphans() -> None:
    """Become the subreaper (Linux), so that orphaned descendants become children and are found by `_sweep`."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap(pid: int) -> int | None:
    """Collect the children that ended; return the exit code of `pid` when it is among them."""
    code = None
    with suppress(ChildProcessError):
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended == 0:
                break
            if ended == pid:
                code = os.waitstatus_to_exitcode(status)
    return code


def _sweep(pid: int, code: int | None, grace: float) -> int:
    """Wait until all descendants have ended, kill them after `grace` seconds, and return the exit code of `pid`."""
    deadline = time.monotonic() + grace
    signalled: set[int] = set()
    while True:
        ended = _reap(pid)
        code = ended if code is None else code
        left = psutil.Process().children(recursive=True)
        if not left:
            return code if code is not None else 0
        for process in left:
            with suppress(psutil.NoSuchProcess):
                if time.monotonic() > deadline:
                    process.kill()
                elif code is not None and process.pid not in signalled:
                    # The command itself has ended, so that only the guard can signal its descendants.
                    signalled.add(process.pid)
                    process.terminate()
        time.sleep(0.05)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
