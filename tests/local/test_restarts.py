"""`conceptry up` starts a server again that ended, a few times, and leaves no process behind."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local.child_process import answers
from tests.support.wait import wait_until

# As `conceptry up`, with the Hub alone and two restarts.
PROGRAM = """
import signal, sys
from pathlib import Path
from local import server_group, servers
from local.setup_folder import Folder, Setup
signal.signal(signal.SIGINT, signal.default_int_handler)
server_group.RESTARTS = 2
try:
    with servers.Stack(Folder.at(Path(sys.argv[1])), Setup(repo="r"), lambda text: print(text, flush=True)) as stack:
        print(stack.start_hub().hub_endpoint, flush=True)
        stack.run_until_interrupted()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def read_until(up: "subprocess.Popen[str]", words: str) -> str:
    assert up.stdout is not None
    return next(line for line in up.stdout if re.search(words, line))


def hub_of(up: "subprocess.Popen[str]") -> psutil.Process:
    """Return the process of the Hub, below its guard."""

    def found() -> list[psutil.Process]:
        below = psutil.Process(up.pid).children(recursive=True)
        return [one for one in below if one.cmdline()[2:4] == ["-m", "emulators.hub"]]

    return wait_until(found)[0]


def test_a_server_that_ended_is_started_again_a_few_times(up: "subprocess.Popen[str]") -> None:
    address = read_until(up, "^http").strip()
    for _ in range(2):
        before = hub_of(up)
        before.kill()
        assert "is started again" in read_until(up, "had ended")
        read_until(up, "responds again")
        assert answers(address)
        assert hub_of(up).pid != before.pid
    family = psutil.Process(up.pid).children(recursive=True)
    hub_of(up).kill()
    told = up.communicate(timeout=60)[1]
    assert up.returncode == 1
    assert "ended with exit code" in told
    assert psutil.wait_procs(family, timeout=10)[1] == []


def test_ctrl_c_leaves_no_process_after_a_restart(up: "subprocess.Popen[str]") -> None:
    address = read_until(up, "^http").strip()
    hub_of(up).kill()
    read_until(up, "responds again")
    assert answers(address)
    family = psutil.Process(up.pid).children(recursive=True)
    up.send_signal(signal.SIGINT)
    said = up.communicate(timeout=60)[0]
    assert "interrupted" in said
    assert up.returncode == 0
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert not answers(address)
