"""Locks on run folders: who holds them, who waits, and what a killed holder leaves."""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conceptry.errors import TransientError
from tasks.locks import abandoned, hold, slot, try_hold
from tasks.run_folder import RunFolder
from tests.support.registry_world import python
from tests.support.wait import wait_until

HOLD = """
import subprocess, sys, time
from pathlib import Path
from conceptry.errors import TransientError
from tasks.locks import hold
with hold(Path(sys.argv[1]), "a run") as lock:
    if len(sys.argv) > 2:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[lock])
    Path(sys.argv[1] + ".ready").touch()
    time.sleep(60)
"""


def holder(lock: Path, *arguments: str) -> subprocess.Popen[bytes]:
    process = python(HOLD, {}, str(lock), *arguments)
    wait_until(lock.with_name(lock.name + ".ready").exists)
    assert lock.read_text() == "a run"
    return process


def test_an_orderly_end_leaves_no_trace(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with hold(lock, "a run"):
        assert lock.read_text() == "a run"
        assert not abandoned(lock, "a run")
    assert lock.read_text() == ""
    assert not abandoned(lock, "a run")


def test_a_killed_holder_is_known_and_its_lock_is_free(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / ("f" * 64))
    process = holder(folder.root / "lock")
    assert not folder.abandoned_by("a run")
    with try_hold(folder.root / "lock", "another run") as held:
        assert held is None
    process.kill()
    process.wait()
    assert folder.abandoned_by("a run")
    assert not folder.abandoned_by("another run")
    with folder.lock("another run"):
        assert not folder.abandoned_by("a run")


def test_what_a_killed_holder_started_keeps_the_lock_until_it_is_dead(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    process = holder(lock, "with a trainer")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not abandoned(lock, "a run"), "its trainer still lives"
    os.killpg(process.pid, signal.SIGKILL)
    wait_until(lambda: abandoned(lock, "a run"))


def test_places_for_training_are_limited(tmp_path: Path) -> None:
    with slot(tmp_path, 2, "one"), slot(tmp_path, 2, "two"):
        code = "import sys; from pathlib import Path; from tasks.locks import slot\n"
        code += "with slot(Path(sys.argv[1]), 2, 'three', lambda: print('waiting', flush=True)):\n"
        code += "    print('training', flush=True)"
        other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "waiting\n"
    assert other.stdout.readline() == "training\n"
    assert other.wait(30) == 0
    other.stdout.close()


def test_a_wait_ends_in_time_and_names_the_holder(tmp_path: Path) -> None:
    lock, told = tmp_path / "lock", list[str]()
    process = holder(lock)
    with (
        pytest.raises(TransientError, match=r"a run has held .*lock for") as caught,
        hold(lock, "another run", told.append, timeout=0.2),
    ):
        pass
    assert told == ["a run"]
    assert f"fuser {lock}" in str(caught.value)
    process.kill()
    process.wait()


def test_a_wait_without_limit_can_be_cancelled(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock")
    code = "import sys; from pathlib import Path; from tasks.run_folder import RunFolder\n"
    code += "with RunFolder(Path(sys.argv[1])).lock('b', lambda other: print(other, flush=True)): print('held')"
    command = [sys.executable, "-c", code, str(tmp_path)]
    # A shell without job control starts background commands deaf to SIGINT, and so all that they start.
    hearing = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    waiting = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=hearing
    )
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "a run\n"
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(30) != 0
    assert waiting.stdout.read() == ""
    waiting.stdout.close()
    process.kill()
    process.wait()
