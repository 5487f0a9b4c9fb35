"""The machines of a job: one local process for each replica, with the variables that Vertex AI sets.

https://cloud.google.com/vertex-ai/docs/training/distributed-training describes CLUSTER_SPEC and TF_CONFIG; the names
of the environment's other variables are those of the same guide.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.cloud.aiplatform_v1.types import CustomJob

from emulators.host import free_ports, inherited_environment
from emulators.vertex.mount import Mount

# On Linux the kernel kills a replica when the thread that started it dies, even by SIGKILL.
_DIE_WITH_PARENT = """\
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
sys.exit(75) if os.getppid() != int(sys.argv[1]) else os.execvp(sys.argv[2], sys.argv[2:])
"""
_TASKS = ("chief", "worker", "ps", "evaluator")


def die_with_parent(python: Sequence[str], command: Sequence[str]) -> list[str]:
    """Wrap a command so that it ends with this process; `python` is the interpreter that runs the wrapper."""
    return [*python, "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]


@dataclass
class Replicas:
    """The processes of one attempt at a job.

    Args:
        job: the job that they run.
        mount: the job's /gcs.
        logs: folder for the replicas' output.
        binaries: the image's folder of programs, which comes first on PATH.
        root: PYTHONPATH of the replicas, for the files of the image.
        variables: added to the environment of every container.
    """

    job: CustomJob
    mount: Mount
    logs: Path
    binaries: Path
    root: Path | None
    variables: Mapping[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        """Start all replicas, with each other's addresses in their environments."""
        self.logs.mkdir(parents=True, exist_ok=True)
        pools = self.job.job_spec.worker_pool_specs
        cluster = _addresses([int(pool.replica_count) for pool in pools])
        for index, pool in enumerate(pools):
            container = pool.container_spec
            command = [self.mount.map(text) for text in (*container.command, *container.args)]
            for number in range(int(pool.replica_count)):
                name = f"workerpool{index}-{number}"
                environment = self._environment(cluster, index, number)
                environment |= {variable.name: self.mount.map(variable.value) for variable in container.env}
                with (self.logs / f"{name}.log").open("ab") as log:
                    self.processes[name] = subprocess.Popen(
                        die_with_parent([sys.executable, "-S"], command),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        env=environment,
                        cwd=self.mount.folder,
                        start_new_session=True,
                    )

    def failed(self) -> tuple[str, int] | None:
        """Return a replica that failed, and its exit status as a shell reports it; none if no replica failed."""
        for name, process in self.processes.items():
            code = process.poll()
            if code not in (None, 0):
                return name, code if code > 0 else 128 - code
        return None

    def done(self) -> bool:
        """Whether the primary replica has succeeded, which decides about the job."""
        return self.processes["workerpool0-0"].poll() == 0

    def wait(self, seconds: float) -> None:
        """Wait for the replicas to end by themselves, at most this many seconds."""
        deadline = time.monotonic() + seconds
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))

    def stop(self, grace: float) -> None:
        """End all replicas: SIGTERM, and after `grace` seconds SIGKILL."""
        deadline = time.monotonic() + grace
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self.processes.values():
                if process.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, number)
            for process in self.processes.values():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()) if number == signal.SIGTERM else None)

    def _environment(self, cluster: dict[str, list[str]], pool: int, number: int) -> dict[str, str]:
        _, project, _, location, _, job_id = self.job.name.split("/")
        path = os.pathsep.join([str(self.binaries), os.environ.get("PATH", os.defpath)])
        output = self.mount.map(self.job.job_spec.base_output_directory.output_uri_prefix.replace("gs://", "/gcs/"))
        folders = {
            "AIP_MODEL_DIR": f"{output}model/",
            "AIP_CHECKPOINT_DIR": f"{output}checkpoints/",
            "AIP_TENSORBOARD_LOG_DIR": f"{output}logs/",
        }
        tasks = {_TASKS[index]: addresses for index, addresses in enumerate(cluster.values())}
        return {
            **inherited_environment(["HOME", "USER"]),
            "PATH": path,
            **({"PYTHONPATH": str(self.root)} if self.root else {}),
            "PYTHONUNBUFFERED": "1",
            "CLOUD_ML_PROJECT_ID": project,
            "CLOUD_ML_REGION": location,
            "CLOUD_ML_JOB_ID": job_id,
            "CLOUD_ML_HP_METRIC_FILE": "",
            "CLUSTER_SPEC": _json(cluster, f"workerpool{pool}", number),
            "TF_CONFIG": _json(tasks, _TASKS[pool], number),
            **(folders if output else {}),
            **self.variables,
        }


def _json(cluster: Mapping[str, Any], kind: str, index: int) -> str:
    task = {"type": kind, "index": index, "trial": ""}
    return json.dumps({"cluster": cluster, "environment": "cloud", "task": task})


def _addresses(replicas: Sequence[int]) -> dict[str, list[str]]:
    """Assign a free port of localhost to each replica; returns the addresses by pool."""
    ports = iter(free_ports(sum(replicas)))
    return {
        f"workerpool{index}": [f"localhost:{next(ports)}" for _ in range(count)] for index, count in enumerate(replicas)
    }
