"""What simulated hosts share: a Prefect server, an emulated Vertex AI, and the process that starts hosts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from prefect.settings import PREFECT_API_URL, temporary_settings

from cli.setup_gcp import register_blocks
from conceptry.vertex_settings import VertexBasics
from emulators.vertex.cloud import Cloud, running
from emulators.vertex.runner import Image
from local.child_process import answers, clean_environment, free_port
from local.serve_flows import deployments
from tasks.processes import leashed, python_module
from tests.support.clouds import IMAGE
from tests.support.trained import make_trained

NAMES = ("ant", "bee", "cow", "dog")
"""Concepts that a simulation may write."""
FOREIGN = "theirs"
"""Concept whose repos belong to somebody else."""
GIT = {
    "GIT_AUTHOR_NAME": "Tess", "GIT_AUTHOR_EMAIL": "tess@example.org", "GIT_COMMITTER_NAME": "Tess",
    "GIT_COMMITTER_EMAIL": "tess@example.org", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "init.defaultBranch",
    "GIT_CONFIG_VALUE_0": "main",
}  # fmt: skip
"""Git's identity and settings, for programs that run outside of the tests."""
REPO_ROOT = Path(__file__).resolve().parents[2]

STAND_IN = """
import json, pathlib, shutil, sys, time
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
output = pathlib.Path(given["--output"]); output.mkdir(parents=True, exist_ok=True)
config = json.loads(pathlib.Path(given["--config"]).read_text())
time.sleep(config["training"]["max_steps"] * %s)
source = pathlib.Path(__file__).parent / "trained" / config["placeholder_token"].strip("<>")
for path in sorted(source.rglob("*"), key=lambda path: path.name == "metrics.json"):
    if path.is_file():
        target = output / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
"""
"""Trainer that sleeps for some seconds a step, and lays down what a training leaves."""


class PrefectServer:
    """A Prefect server that can be killed and started again on its port and its database."""

    def __init__(self, home: Path, **variables: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._home, self._port, self._variables = home, free_port(0), variables
        self.api = f"http://127.0.0.1:{self._port}/api"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Its port."""
        return self._port

    @property
    def process(self) -> psutil.Process:
        """Its process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        variables = clean_environment() | {"PREFECT_HOME": str(self._home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        with (self._home / "server.log").open("ab") as log:
            command = leashed(python_module("local.prefect_server", "--port", str(self._port)))
            self._process = subprocess.Popen(command, env=variables | self._variables, stdout=log, stderr=log)
        wait(lambda: answers(f"{self.api}/health"), 120, "the Prefect server answers")

    def freeze(self, frozen: bool) -> None:
        """Let it answer no request, or all that are waiting."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def wait(reached: Callable[[], object], seconds: float, what: str) -> float:
    """Wait until something is reached; return the seconds it took."""
    since = time.monotonic()
    while not reached():
        if time.monotonic() - since > seconds:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.2)
    return time.monotonic() - since


class Zygote:
    """Process that has imported everything, and becomes a host for each order."""

    def __init__(self, log: Path, variables: dict[str, str]) -> None:
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.simulation.host"],
                cwd=REPO_ROOT, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True,
            )  # fmt: skip
        self._line()

    def start(self, order: dict[str, Any]) -> int:
        """Start a host; return its process id, which is that of its process group."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def close(self) -> None:
        """End it; the hosts that are left end with it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that starts hosts has ended; see its log"
        return line.strip()


def kill_group(process: int) -> None:
    """Kill a host and everything that runs on it."""
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


@dataclass(frozen=True)
class Servers:
    """A Prefect server and an emulated Vertex AI with what `conceptry setup gcp` registers."""

    prefect: PrefectServer
    cloud: Cloud


@contextmanager
def servers(
    root: Path,
    *,
    names: Sequence[str] = (*NAMES, FOREIGN),
    step_seconds: float = 0.01,
    schedules: bool = False,
    prefect: Mapping[str, str] | None = None,
) -> Iterator[Servers]:
    """Run the servers while the block runs.

    Args:
        root: Folder.
        names: Concepts that jobs can train.
        step_seconds: Seconds that a job's training takes for a step.
        schedules: Whether the Prefect server schedules the runs of deployments; simulated hosts watch by themselves.
        prefect: Further settings of the Prefect server.
    """
    image = root / "image"
    (image / "trainer").mkdir(parents=True)
    (image / "trainer" / "__init__.py").touch()
    (image / "trainer" / "__main__.py").write_text(STAND_IN % step_seconds)
    for name in names:
        make_trained(image / "trainer" / "trained" / name, token=f"<{name}>", loss=0.05)
    unscheduled = {} if schedules else {"PREFECT__SERVER_EPHEMERAL": "1"}
    server = PrefectServer(root / "prefect", **unscheduled, **(prefect or {}))
    server.start()
    try:
        with (
            running(root / "cloud", capacity=20, grace=1.0) as cloud,
            temporary_settings(updates={PREFECT_API_URL: server.api}),
        ):
            cloud.images[IMAGE] = Image(root=image)
            for deployment in deployments(watch_every=3600):
                deployment.apply(_sync=True)
            register_blocks(VertexBasics(), cloud.service_account, cloud.bucket, None)
            yield Servers(server, cloud)
    finally:
        server.kill()


def child_variables(servers: Servers, root: Path) -> dict[str, str]:
    """Return the environment of processes that use the servers."""
    return clean_environment() | servers.cloud.environment() | {
        "GIT_CONFIG_NOSYSTEM": "1", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DVC_NO_ANALYTICS": "1",
        "PREFECT_API_URL": servers.prefect.api, "PREFECT_HOME": str(root / "hosts-prefect"),
        "PREFECT_CLIENT_MAX_RETRIES": "2", "HF_HOME": str(root / "hosts-hub"), "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPO_ROOT),
    }  # fmt: skip


@contextmanager
def starting_hosts(servers: Servers, root: Path) -> Iterator[Zygote]:
    """Run the process that starts hosts while the block runs."""
    zygote = Zygote(root / "zygote.log", child_variables(servers, root))
    try:
        yield zygote
    finally:
        zygote.close()
