"""`conceptry up` in a repository that never heard of it: servers answer, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from local.child_process import answers
from local.setup_folder import Folder
from tests.support.up_process import CONCEPTRY, start_up


@pytest.mark.e2e
def test_up_serves_this_repository_until_ctrl_c(tmp_path: Path) -> None:
    clone = tmp_path / "concepts-of-ours"
    subprocess.run(["git", "init", "-q", str(clone)], check=True)
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "Begin"], cwd=clone, check=True)
    up, said = start_up(clone)
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
