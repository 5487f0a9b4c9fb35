"""Commands, environments and deadlines of child processes."""

import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# Runs in the child process before the command. Unlike a preexec_fn, this way to set the death signal is safe in a
# parent with threads; the last line handles a parent that died before the second line.
_LEASH = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
sys.exit(75) if os.getppid() != int(sys.argv[1]) else os.execv(sys.argv[2], sys.argv[2:])
"""
# Seconds between SIGTERM and SIGKILL: git removes its lock files.
_GRACE = 5.0


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this installation with this interpreter.

    `-P` keeps the working directory off the module path; otherwise a folder `trainer/` in the user's checkout would
    shadow the package.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment(*, without: Iterable[str] = (), **variables: str) -> dict[str, str]:
    """Return this process's environment for a child process.

    Args:
        without: Prefixes of the variables to leave out.
        variables: Variables to add.
    """
    prefixes = tuple(without)
    kept = {name: value for name, value in os.environ.items() if not (prefixes and name.startswith(prefixes))}
    return kept | variables


def leashed(command: Sequence[str]) -> list[str]:
    """Return a command that the kernel ends with SIGTERM when the thread that started it is gone (Linux).

    The first element of `command` is the path of its program.
    """
    if platform.system() != "Linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *command]


def run_to_end(
    command: Sequence[str],
    *,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command without input and return its exit code and output.

    It runs in a session of its own, without a terminal. If it takes too long, or the caller is interrupted, all
    processes that it started are ended, except those that left its process group. Its output goes to files, because a
    daemon that it leaves behind (ssh does) would keep a pipe open.

    Raises:
        TimeoutError: it did not end within `timeout` seconds. FileNotFoundError: there is no such program.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            leashed(command) if Path(command[0]).is_absolute() else list(command),
            env=None if environment is None else dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        code: int | None = None
        try:
            with suppress(subprocess.TimeoutExpired):
                code = child.wait(timeout)
        finally:
            if code is None:
                _end_group(child)
        if code is None:
            raise TimeoutError(f"{Path(command[0]).name} did not end within {timeout:.0f} s")
        for file in (output, errors):
            file.seek(0)
        return subprocess.CompletedProcess(list(command), code, output.read(), errors.read())


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End a process and its group with SIGTERM, and what is left of them after a few seconds with SIGKILL."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
