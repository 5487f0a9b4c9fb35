"""Every process that the project starts runs our module, whatever folders the working directory holds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.child_process import Child
from local.hub_config import hub_arguments
from local.post_receive_hook import install
from tasks.processes import python_module
from tests.test_arrows import ROOMS

DECOYS = (*ROOMS, "dvc", "prefect")


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A checkout whose folders have the names of our packages; each module there says that it was run, and fails."""
    folder = tmp_path / "checkout"
    for name in DECOYS:
        (folder / name).mkdir(parents=True)
        for file in ("__init__.py", "__main__.py"):
            (folder / name / file).write_text(f"raise SystemExit('the decoy {name} was run')\n")
    return folder


@pytest.mark.parametrize(
    "module",
    [
        "trainer",
        "trainer.export",
        "trainer.base_weights.fetch",
        "tasks.records",
        "local.serve_flows",
        "emulators.hub",
        "emulators.vertex",
        "emulators.hub.apps.toolkit",
        "cli",
        "dvc",
        "prefect",
    ],
)
def test_a_module_is_ours_in_a_foreign_folder(foreign: Path, module: str) -> None:
    done = subprocess.run(python_module(module, "--help"), cwd=foreign, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "decoy" not in done.stdout + done.stderr


def test_a_child_of_the_embedded_set_up_is_ours(foreign: Path, tmp_path: Path) -> None:
    command = python_module(*hub_arguments(tmp_path / "hub", "127.0.0.1", 0), "--help")
    child = Child("the Hub", command, dict(os.environ), tmp_path / "log", lambda: True, foreign)
    child.start()
    child.wait()
    child.request_stop()
    assert "decoy" not in (tmp_path / "log").read_text()
    assert "usage" in (tmp_path / "log").read_text().lower()


def test_the_hook_of_an_origin_is_ours(foreign: Path) -> None:
    install(foreign, foreign / "no-set-up")
    done = subprocess.run([foreign / "hooks" / "post-receive"], cwd=foreign, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_module_is_started_in_another_way(repo_root: Path) -> None:
    """`python -m` without `-P` runs what lies in the working directory."""
    started = [
        f"{path.relative_to(repo_root).as_posix()}: {line.strip()}"
        for room in ("cli", "conceptry", "flows", "local", "tasks", "trainer")
        for path in (repo_root / room).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "sys.executable" in line and '"-m"' in line
    ]
    assert len(started) == 3
    assert all('"-P"' in line for line in started)


def test_the_trainer_exports_with_its_own_module(foreign: Path, tmp_path: Path) -> None:
    code = "import sys, pathlib; from trainer import export; place = pathlib.Path(sys.argv[1])\n"
    code += "export.finish(export.start('tiny', None, place / 'missing.safetensors', place / 'output'))"
    done = subprocess.run([sys.executable, "-P", "-c", code, tmp_path], cwd=foreign, capture_output=True, text=True)
    assert "missing.safetensors" in done.stderr, "our own module looked for it"
    assert "decoy" not in done.stderr
