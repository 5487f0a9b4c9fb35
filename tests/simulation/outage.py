"""An outage of the Prefect server in the middle of a training, with the processes that `conceptry up` runs.

    python -m tests.simulation.outage --minutes 6 [--backend vertex] [--steps 400]

The server is killed once the training has begun, and started again after the outage. Prints, as JSON, what happened:
whether the training and the serving process survived, how the run ended, and how many versions there are. A training
on the emulated Vertex AI is a stand-in, which ends two minutes after the outage.
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

from emulators.hub.server import running
from tasks.processes import python_module
from tests.simulation.simulated_cloud import (
    GIT,
    PrefectServer,
    Servers,
    child_variables,
    servers,
    wait,
)
from tests.support.registry_world import World, training_runs
from tests.support.trainer_stand_in import vertex_variables

NAME = "dog"


class Outage:
    """One training and one outage."""

    def __init__(self, world: World, shared: Servers, serving: "subprocess.Popen[bytes]", backend: str) -> None:
        self._world, self._cloud, self._serving, self._backend = world, shared.cloud, serving, backend
        self._server: PrefectServer = shared.prefect
        self._fingerprint = world.action(NAME).fingerprint or ""

    def observe(self, minutes: float) -> dict[str, Any]:
        """Go through the outage, and return what happened."""
        training_is_alive = self._wait_for_training()
        self._server.kill()
        time.sleep(minutes * 60)
        found: dict[str, Any] = {"backend": self._backend, "minutes": minutes}
        found["serving process alive"] = self._serving.poll() is None
        found["training alive or done"] = training_is_alive()
        self._server.start()
        found["seconds until released"] = round(wait(lambda: self._world.there(NAME).space, 5400, "it is released"))
        found["seconds until completed"] = round(
            wait(lambda: self._runs() == ["Completed"], 600, "the run is completed")
        )
        found["runs"], found["versions"] = self._runs(), len(self._world.there(NAME).versions)
        found["jobs"] = self._jobs()
        found["serving process alive at the end"] = self._serving.poll() is None
        return found

    def _wait_for_training(self) -> Callable[[], bool]:
        """Wait until the training has begun; return whether it is alive, or ended well."""
        if self._backend == "vertex":
            wait(lambda: self._jobs() == ["RUNNING"], 300, "the job runs")
            return lambda: self._jobs() in (["RUNNING"], ["SUCCEEDED"])
        output = self._world.run_folder(self._fingerprint).output
        wait(lambda: any(output.with_name("output.partial").glob("checkpoints/*")), 300, "the training has begun")
        children = psutil.Process(self._serving.pid).children(recursive=True)
        (trainer,) = (process for process in children if "trainer" in " ".join(process.cmdline()))
        return lambda: trainer.is_running() or output.is_dir()

    def _jobs(self) -> list[str]:
        return [job.state.name.removeprefix("JOB_STATE_") for job in self._cloud.jobs.all()]

    def _runs(self) -> list[str]:
        return [str(run.state_name) for run in training_runs(self._fingerprint)]


def main() -> None:
    """Run one outage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--backend", choices=["local", "vertex"], default="local")
    parser.add_argument("--steps", type=int, default=400)
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="conceptry-outage-"))
    os.environ.update(GIT)
    step_seconds = (60 * given.minutes + 120) / given.steps
    with servers(root, step_seconds=step_seconds, schedules=True) as shared, running(root / "hub") as hub:
        world = World(root, hub.url, shared.prefect.api)
        world.start()
        settings = world.variables() | (vertex_variables(shared.cloud) if given.backend == "vertex" else {})
        os.environ.update(settings)
        variables = child_variables(shared, root) | settings
        variables |= {"PREFECT_RUNNER_POLL_FREQUENCY": "2", "CUDA_VISIBLE_DEVICES": ""}
        world.write(NAME, training={"max_steps": given.steps, "early_stopping": False})
        world.push()
        with (root / "flows.log").open("ab") as log:
            command = python_module("local.serve_flows", "--watch-every", "10")
            serving = subprocess.Popen(command, env=variables, stdout=log, stderr=log, start_new_session=True)
        try:
            print(json.dumps(Outage(world, shared, serving, given.backend).observe(given.minutes), indent=2))
        finally:
            serving.send_signal(signal.SIGTERM)
            serving.wait(60)
    print(f"logs in {root}", file=sys.stderr)


if __name__ == "__main__":
    main()
