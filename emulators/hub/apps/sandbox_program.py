"""A program: run one command within limits, keep its log, and end its whole process tree when the starter is gone.

    python sandbox_program.py --log FILE --memory BYTES --processes N -- COMMAND...

The starter holds the other end of standard input. When that closes, because the starter closed it or was killed, the
command gets SIGTERM and a few seconds; then the processes that are left of it, at any depth, are killed. Each line that
the command prints goes into the log with its time; a log that grows too long keeps its last lines. The one line of JSON
on standard output says how the command ended: {"exit": 1, "reason": null}, where the reason is "memory" or "processes"
when a limit was exceeded, and "stopped" when the starter ended it.

It imports nothing of the Hub: it is started by its path, and stays small.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import psutil

GRACE = 5.0
POLL_SECONDS = 0.25
LOG_BYTES = 1 << 20
_LINE_BYTES = 8192
_PR_SET_CHILD_SUBREAPER = 36


class Log:
    """A file of lines with their times that never exceeds twice LOG_BYTES."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)

    def write(self, text: str) -> None:
        """Append one line."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        self._file.write(f"{now} {text}\n".encode("utf-8", "replace"))
        if self._file.tell() > 2 * LOG_BYTES:
            kept = self._path.read_bytes()[-LOG_BYTES:]
            draft = self._path.with_suffix(".shorter")
            draft.write_bytes(kept[kept.find(b"\n") + 1 :])
            draft.replace(self._path)
            self._file.close()
            self._file = self._path.open("ab", buffering=0)


def copy_lines(stream: IO[bytes], log: Log) -> None:
    """Copy the command's output into the log until the command closes it."""
    while line := stream.readline(_LINE_BYTES):
        # A progress bar overwrites itself: a terminal would show what follows the last carriage return.
        text = line.decode("utf-8", "replace").rstrip("\r\n").rsplit("\r", 1)[-1]
        log.write(text)


def family() -> list[psutil.Process]:
    """Return every process below this program."""
    return psutil.Process().children(recursive=True)


def broken_limit(memory: int, processes: int) -> str | None:
    """Return the limit that the command exceeds now, if any."""
    members, used = family(), 0
    for member in members:
        with contextlib.suppress(psutil.Error):
            used += member.memory_info().rss
    if used > memory:
        return "memory"
    return "processes" if len(members) > processes else None


def end_all(grace: float) -> None:
    """Send SIGTERM to every process below this program, and SIGKILL to those left after `grace` seconds."""
    deadline = time.monotonic() + grace
    signalled: set[int] = set()
    while members := [m for m in family() if m.status() != psutil.STATUS_ZOMBIE]:
        for member in members:
            with contextlib.suppress(psutil.Error):
                if time.monotonic() > deadline:
                    member.kill()
                elif member.pid not in signalled:
                    signalled.add(member.pid)
                    member.terminate()
        time.sleep(0.05)


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own, as the kernel's first choice when memory runs out."""
    if sys.platform == "linux":
        # The kernel reparents orphaned grandchildren to this process, so that `family` still finds them.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("900")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)  # interactive work on this machine has priority
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def watch(child: subprocess.Popen[bytes], memory: int, processes: int) -> str | None:
    """Wait until the command ends (none), exceeds a limit, or the starter closes its end; return which."""
    while child.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], POLL_SECONDS)
        if readable and not os.read(sys.stdin.fileno(), 1024):
            return "stopped"
        if reason := broken_limit(memory, processes):
            return reason
    return None


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the Hub handles Ctrl-C
    log = Log(options.log)
    try:
        child = start(options.command[1:])
    except OSError as error:
        log.write(f"cannot be started: {error}")
        print(json.dumps({"exit": 127, "reason": None}), flush=True)
        return 127
    assert child.stdout is not None
    copier = threading.Thread(target=copy_lines, args=(child.stdout, log), daemon=True)
    copier.start()
    reason = watch(child, options.memory, options.processes)
    # A command that exceeds a limit is killed at once.
    end_all(GRACE if reason in (None, "stopped") else 0.0)
    code = child.wait()
    copier.join(timeout=1)
    if reason == "memory":
        log.write(f"Memory limit exceeded ({options.memory / 1e9:.1f} GB): ended")
    elif reason == "processes":
        log.write(f"More than {options.processes} processes: ended")
    print(json.dumps({"exit": code, "reason": reason}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
