"""Servers of the embedded set-up, started and stopped together: local Hub, Prefect, and the flows."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

from conceptry.work_folder import WorkFolder
from local.child_process import Child, StackError, answers, clean_environment, free_port
from local.hub_config import hub_arguments
from local.moved_folder import carry_over
from local.prefect_settings import server_variables
from local.server_group import START_TIMEOUT, ServerGroup, says
from local.setup_folder import CLOUD_BUCKET, CLOUD_PROJECT, Folder, Setup
from tasks.processes import python_module, run_to_end

GRACE = 0.5
"""Seconds between SIGTERM and SIGKILL of a server. Each keeps what it has acknowledged, also when it is killed."""
FLOWS_GRACE = 1.3
"""The same for the flows: a trainer writes its checkpoint, and the server records the final states of runs."""

SECRET_VARIABLES = ("_TOKEN", "_LOGIN", "_AUTH_STRING")
"""How the names of variables end that only the flows and commands get."""

_PREFECT = {
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_RUNNER_POLL_FREQUENCY": "2",
    "DO_NOT_TRACK": "1",
}
_QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",  # the local Hub has no Xet storage, which the client does not check
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONUNBUFFERED": "1",
}


class Stack(ServerGroup):
    """Servers of one root folder.

    Use it as a context manager: leaving the block stops every process. `start` replaces a port that is in use by a free
    one and writes the set-up to the folder, so that commands in another terminal find it with `--root`.

    Args:
        folder: Folder of the set-up.
        setup: The set-up to serve.
        report: Called with a few words when a port was in use, and when a server had to be started again.
        on_ready: Called with a few words when a server is ready.
    """

    def __init__(
        self,
        folder: Folder,
        setup: Setup,
        report: Callable[[str], None] = lambda _: None,
        on_ready: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(folder.root, folder.lock, report, on_ready)
        self.folder, self.setup = folder, setup

    def start(self) -> Setup:
        """Start all servers and return the set-up with their ports.

        Raises:
            StackError: a server did not start; leaving the `with` block stops the others.
        """
        for place in (self.folder.hub, self.folder.prefect, self.folder.work, self.folder.logs):
            place.mkdir(parents=True, exist_ok=True)
        self.open_alone()
        if self.setup.root not in ("", str(self.folder.root)):
            carry_over(self.folder.root, self.setup.root, WorkFolder(self.folder.work))
        setup = replace(
            self.setup,
            hub_port=free_port(self.setup.hub_port),
            prefect_port=free_port(self.setup.prefect_port),
            prefect_auth=self.setup.prefect_auth or secrets.token_urlsafe(24),
            **(self._cloud_ports() if self.setup.cloud_emulated else {}),
        )
        for title, before, port in (
            ("the local Hub", self.setup.hub_port, setup.hub_port),
            ("Prefect", self.setup.prefect_port, setup.prefect_port),
        ):
            if before != port:
                self._report(f"port {before} is in use by another process: {title} listens on {port}")
        self.setup = setup
        self.folder.write(setup)
        hub, prefect, flows = self._hub(), self._prefect(), self._flows()
        servers = [hub, prefect, *([self._cloud()] if setup.cloud_emulated else [])]
        for child in servers:
            self._begin(child)
        for child in servers:
            self._await(child)
        if setup.cloud_emulated:
            self._register_blocks()
        self._begin(flows)  # registers its deployments with the server, so it starts last
        self._await(flows)
        return setup

    def start_hub(self) -> Setup:
        """Start the local Hub alone, on its remembered port."""
        self.folder.logs.mkdir(parents=True, exist_ok=True)
        self.setup = replace(self.setup, hub_port=free_port(self.setup.hub_port))
        hub = self._hub()
        self._begin(hub)
        self._await(hub)
        return self.setup

    def stop(self) -> None:
        """Stop every process within three seconds.

        The flows, which started last, end first, while the server can still record the final states of their runs.
        """
        for group in (self._children[-1:], self._children[:-1]):
            for child in group:
                child.request_stop()
            for child in group:
                child.wait()
        super().stop()

    def _child(
        self, title: str, name: str, command: list[str], ready: Callable[[], bool], *, trusted: bool = False
    ) -> Child:
        """Return a child process; if it is `trusted`, its environment contains the tokens and logins of the set-up.

        The Hub and the emulated cloud run the code of Spaces and trainings as the same user, who may read theirs.
        """
        ours = self.setup.variables(self.folder) | {"PREFECT_API_AUTH_STRING": self.setup.prefect_auth}
        environment = (
            clean_environment()
            | _QUIET
            | _PREFECT
            | {key: value for key, value in ours.items() if trusted or not key.endswith(SECRET_VARIABLES)}
            | {"PREFECT_HOME": str(self.folder.prefect), "PREFECT_API_URL": self.setup.prefect_api}
        )
        log = self.folder.logs / f"{name}.log"
        return Child(title, python_module(*command), environment, log, ready, self.folder.root, GRACE)

    def _hub(self) -> Child:
        command = hub_arguments(self.folder.hub, "127.0.0.1", self.setup.hub_port)
        return self._child("the local Hub", "hub", command, lambda: answers(f"{self.setup.hub_endpoint}/healthz"))

    def _prefect(self) -> Child:
        port = str(self.setup.prefect_port)
        command = ["local.prefect_server", "--port", port]
        child = self._child("Prefect", "prefect", command, lambda: answers(f"{self.setup.prefect_api}/health"))
        child.environment = {**child.environment, **server_variables(self.setup)}
        return child

    def _cloud(self) -> Child:
        ports = {"port": self.setup.vertex_port, "web": self.setup.cloud_port, "storage": self.setup.storage_port}
        command = ["emulators.vertex", "--root", str(self.folder.cloud), "--port", str(ports["port"])]
        command += ["--project", CLOUD_PROJECT, "--bucket", CLOUD_BUCKET]
        command += ["--web-port", str(ports["web"]), "--storage-port", str(ports["storage"])]
        return says("cloud: ready", self._child("the emulated Google Cloud", "cloud", command, bool))

    def _cloud_ports(self) -> dict[str, Any]:
        names = ("vertex_port", "cloud_port", "storage_port")
        return {name: free_port(getattr(self.setup, name)) for name in names}

    def _register_blocks(self) -> None:
        """Run `conceptry setup gcp`, as the user does for a real cloud."""
        key, log = self.setup.cloud_key(self.folder), self.folder.logs / "setup.log"
        options = ["setup", "gcp", "--credentials", str(key), "--bucket", CLOUD_BUCKET]
        child = self._child("setup gcp", "setup", ["cli", *options], bool, trusted=True)
        try:
            done = run_to_end(child.command, timeout=START_TIMEOUT, environment=child.environment, folder=child.folder)
        except TimeoutError as error:
            raise StackError(f"`conceptry setup gcp` did not end within {START_TIMEOUT:.0f} s") from error
        log.write_bytes(done.stdout + done.stderr)
        if done.returncode != 0:
            raise StackError(f"`conceptry setup gcp` found something missing in the emulated cloud; see {log}")

    def _flows(self) -> Child:
        # The server is this set-up's alone, also after its repository or the Hub's port changed, and so its id.
        command = ["local.serve_flows", "--take-over", "--end-left-runs", "--watch-every", str(self.setup.watch_every)]
        child = self._child("the watcher", "flows", command, bool, trusted=True)
        # Prefect's runner starts runs with `python -m` in this folder, which may hold folders of any name.
        child.environment = {**child.environment, "PYTHONSAFEPATH": "1"}
        child.grace = FLOWS_GRACE
        return says("serve: ready", child)


def end_on_sigterm() -> None:
    """Install handlers that raise KeyboardInterrupt on SIGTERM and on SIGHUP, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt."""
        del number, frame
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
