"""`conceptry up` in a repository that never heard of it: servers answer, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from local.child_process import answers
from local.setup_folder import Folder

CONCEPTRY = [sys.executable, "-m", "cli"]


def _start(clone: Path) -> tuple[subprocess.Popen[str], str]:
    """Start `conceptry up` and return it with what it printed until everything was up."""
    up = subprocess.Popen([*CONCEPTRY, "up"], cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert up.stdout is not None
    said = ""
    for line in up.stdout:
        said += line
        if "Ctrl-C" in line:
            return up, said
    raise AssertionError(f"`conceptry up` ended with {up.wait()}:\n{said}")


@pytest.mark.e2e
def test_up_serves_this_repository_until_ctrl_c(tmp_path: Path) -> None:
    clone = tmp_path / "concepts-of-ours"
    subprocess.run(["git", "init", "-q", str(clone)], check=True)
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "Begin"], cwd=clone, check=True)
    up, said = _start(clone)
    try:
        family = psutil.Process(up.pid).children(recursive=True)
        folder = Folder.at(clone / ".conceptry")
        setup = folder.read()
        assert setup.repo == str(clone)
        assert {setup.prefect_ui, setup.hub_endpoint} <= set(re.findall(r"http://127\.0\.0\.1:\d+", said))
        assert answers(setup.prefect_ui)
        assert answers(setup.hub_endpoint)

        plan = subprocess.run([*CONCEPTRY, "plan"], cwd=clone, capture_output=True, text=True, check=False)
        assert (plan.returncode, plan.stderr) == (0, "")
        assert "No concept in" in plan.stdout

        again = subprocess.run([*CONCEPTRY, "up"], cwd=clone, capture_output=True, text=True, check=False)
        assert again.returncode == 1
        assert "open in another terminal" in again.stderr

        up.send_signal(signal.SIGINT)
        rest = up.communicate(timeout=60)[0]
        assert up.returncode == 0, rest
        assert "no process is left running" in rest
    finally:
        up.kill()
        up.communicate()
    assert [process for process in family if process.is_running()] == []
    assert not answers(setup.prefect_ui)
