"""An outage of the Prefect server in the middle of a local training, with the processes that `conceptry up` runs.

    python -m tests.simulation.outage --minutes 6 [--steps 400]

The server is killed once the training has begun, and started again after the outage. Prints, as JSON, what happened:
whether the trainer and the serving process survived, how the run ended, and how many versions there are.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from prefect.settings import PREFECT_API_URL, temporary_settings

from emulators.hub.server import running
from local.child_process import answers, clean_environment, free_port
from tasks.processes import python_module
from tests.support.registry_world import World, training_runs

GIT = {
    "GIT_AUTHOR_NAME": "Tess", "GIT_AUTHOR_EMAIL": "tess@example.org", "GIT_COMMITTER_NAME": "Tess",
    "GIT_COMMITTER_EMAIL": "tess@example.org", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "init.defaultBranch",
    "GIT_CONFIG_VALUE_0": "main",
}  # fmt: skip


class Server:
    """A Prefect server that can be killed and started again on its port and its database."""

    def __init__(self, home: Path) -> None:
        self._home, self._port = home, free_port(0)
        self.api = f"http://127.0.0.1:{self._port}/api"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        variables = {
            **clean_environment(),
            "PREFECT_HOME": str(self._home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        with (self._home / "server.log").open("ab") as log:
            command = python_module("local.prefect_server", "--port", str(self._port))
            self._process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        wait(lambda: answers(f"{self.api}/health"), 120, "the server answers")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


def wait(reached: Callable[[], object], seconds: float, what: str) -> float:
    """Wait until something is reached; return the seconds it took."""
    since = time.monotonic()
    while not reached():
        if time.monotonic() - since > seconds:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.5)
    return time.monotonic() - since


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=400)
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="conceptry-outage-"))
    home = root / "prefect"
    home.mkdir()
    server = Server(home)
    os.environ.update(GIT)
    with running(root / "hub") as hub:
        world = World(root, hub.url, server.api)
        world.start()
        server.start()
        variables = {**clean_environment(), **world.variables(), "PREFECT_HOME": str(home), "PYTHONSAFEPATH": "1"}
        variables |= {"PREFECT_RUNNER_POLL_FREQUENCY": "2", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_DISABLE_XET": "1"}
        os.environ.update(world.variables())
        world.write("storm-dog", training={"max_steps": given.steps, "early_stopping": False})
        world.push()
        with (root / "flows.log").open("ab") as log:
            command = python_module("local.serve_flows", "--watch-every", "10")
            serving = subprocess.Popen(command, env=variables, stdout=log, stderr=log, start_new_session=True)
        try:
            with temporary_settings(updates={PREFECT_API_URL: server.api}):
                print(json.dumps(observe(world, server, serving, given.minutes), indent=2))
        finally:
            serving.send_signal(signal.SIGTERM)
            serving.wait(60)
            server.kill()
    print(f"logs in {root}", file=sys.stderr)


def observe(world: World, server: Server, serving: "subprocess.Popen[bytes]", minutes: float) -> dict[str, Any]:
    """Go through the outage, and return what happened."""
    fingerprint = world.action("storm-dog").fingerprint or ""
    partial = world.run_folder(fingerprint).output.with_name("output.partial")
    wait(lambda: any(partial.glob("checkpoints/*")), 300, "the training has begun")
    (trainer,) = (p for p in psutil.Process(serving.pid).children(recursive=True) if "trainer" in " ".join(p.cmdline()))
    server.kill()
    time.sleep(minutes * 60)
    found: dict[str, Any] = {"minutes": minutes, "serving process alive": serving.poll() is None}
    found["training ended by itself"] = not trainer.is_running() and world.run_folder(fingerprint).output.is_dir()
    found["trainer alive or done"] = trainer.is_running() or world.run_folder(fingerprint).output.is_dir()
    server.start()
    found["seconds until released"] = round(wait(lambda: world.there("storm-dog").space, 900, "it is released"))

    def runs() -> list[str]:
        return [str(run.state_name) for run in training_runs(fingerprint)]

    found["seconds until completed"] = round(wait(lambda: runs() == ["Completed"], 600, "the run is completed"))
    found["runs"], found["versions"] = runs(), len(world.there("storm-dog").versions)
    found["serving process alive at the end"] = serving.poll() is None
    return found


if __name__ == "__main__":
    main()
