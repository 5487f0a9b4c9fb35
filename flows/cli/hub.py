"""`conceptry hub serve`: the local Hub alone, as a child that ends with this terminal."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path


def serve(root: Path, host: str, port: int, accounts: Path | None) -> int:
    """Run the Hub in the foreground and return its exit code; Ctrl-C and SIGTERM are the Hub's to handle."""
    command = [sys.executable, "-m", "emulators.hub", "--root", str(root), "--host", host, "--port", str(port)]
    if accounts is not None:
        command += ["--accounts", str(accounts)]
    hub = subprocess.Popen(command)
    # Ctrl-C reaches the Hub by itself, being in the same terminal; SIGTERM came to this process only.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: hub.terminate())
    return hub.wait()
