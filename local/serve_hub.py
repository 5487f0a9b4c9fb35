"""`conceptry hub serve`: the local Hub alone, as a child process that ends with the terminal."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from local.hub_config import hub_arguments
from tasks.processes import python_module


@dataclass(frozen=True)
class AppLimits:
    """Whether Spaces and Inference Endpoints run (None: on loopback only), how many, and the memory of each in GB."""

    run: bool | None
    most: int
    memory: float

    def flags(self) -> list[str]:
        """Return the flags for the Hub's command line."""
        chosen = [] if self.run is None else ["--run" if self.run else "--no-run"]
        return [*chosen, "--max-apps", str(self.most), "--app-memory", str(self.memory)]


def serve(root: Path, host: str, port: int, *, accounts: Path | None, public_url: str | None, apps: AppLimits) -> int:
    """Run the Hub in the foreground and return its exit code; the Hub handles Ctrl-C and SIGTERM."""
    command = python_module(*hub_arguments(root, host, port))
    if accounts is not None:
        command += ["--accounts", str(accounts)]
    if public_url is not None:
        command += ["--public-url", public_url]
    hub = subprocess.Popen([*command, *apps.flags()])
    # The terminal sends Ctrl-C to the Hub as well; SIGTERM reaches this process only.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: hub.terminate())
    return hub.wait()
