"""`conceptry up` as a process of its own."""

import functools
import signal
import subprocess
import sys
from pathlib import Path

CONCEPTRY = [sys.executable, "-m", "cli"]


def start_up(clone: Path) -> tuple[subprocess.Popen[str], str]:
    """Start `conceptry up` and return it with what it printed until everything was up."""
    # A shell without job control starts background commands deaf to SIGINT, and so all that they start.
    hearing = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    up = subprocess.Popen(
        [*CONCEPTRY, "up", "--watch-every", "10"],
        cwd=clone,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hearing,
    )
    assert up.stdout is not None
    said = ""
    for line in up.stdout:
        said += line
        if "Ctrl-C" in line:
            return up, said
    raise AssertionError(f"`conceptry up` ended with {up.wait()}:\n{said}")
