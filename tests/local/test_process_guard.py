"""Nothing that the embedded set-up starts outlives it: not a grandchild in another session, not after kill -9."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

# A command that starts a stubborn grandchild in a session of its own, says who it is, and waits.
_FAMILY = """
import pathlib, subprocess, sys, time
stubborn = "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); print('up', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
note = pathlib.Path(sys.argv[1])
note.with_suffix(".part").write_text(str(child.pid))
note.with_suffix(".part").rename(note)
time.sleep(float(sys.argv[2]))
"""


def _until(what: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.02)
    return what()


def _guarded(note: Path, lives: float = 600) -> list[str]:
    return [sys.executable, "-m", "local.process_guard", "0.5", sys.executable, "-c", _FAMILY, str(note), str(lives)]


def _gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_closing_the_pipe_ends_the_whole_family(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with subprocess.Popen(_guarded(note), stdin=subprocess.PIPE) as guard:
        assert _until(note.exists)
        assert guard.stdin is not None
        guard.stdin.close()
        assert guard.wait(30) == 143
    assert _gone(int(note.read_text()))


if sys.platform == "linux":  # which hands orphans to the guard; elsewhere they belong to init

    def test_what_a_dead_command_left_behind_is_ended_too(tmp_path: Path) -> None:
        note = tmp_path / "pid"
        with subprocess.Popen(_guarded(note, lives=0), stdin=subprocess.PIPE) as guard:
            assert guard.wait(30) == 0
        assert _gone(int(note.read_text()))


def test_a_killed_terminal_takes_its_servers_along(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    asker = "import subprocess, sys; subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE).wait()"
    with subprocess.Popen([sys.executable, "-c", asker, *_guarded(note)]) as terminal:
        assert _until(note.exists)
        terminal.kill()
    assert _until(lambda: _gone(int(note.read_text())))


def test_the_exit_code_is_the_commands() -> None:
    command = [sys.executable, "-m", "local.process_guard", "1", sys.executable, "-c", "raise SystemExit(7)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as guard:
        assert guard.wait(30) == 7
