"""Child process of the embedded set-up: start, wait until ready, stop."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from conceptry.errors import ConceptryError
from tasks.processes import child_environment, python_module

GRACE = 12.0
"""Seconds between SIGTERM and SIGKILL of a child, unless it has a grace of its own."""


_OPEN = frozenset(
    {
        "PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "DO_NOT_TRACK",
        "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    }
)  # fmt: skip
_OPEN_PREFIXES = (
    "CUDA_", "GRADIO_", "KERAS_", "LC_", "MKL_", "NVIDIA_", "OMP_", "OPENBLAS_", "SSL_CERT_", "TF_", "XLA_",
)  # fmt: skip


class StackError(ConceptryError):
    """A server of the embedded set-up did not start, or ended unexpectedly."""

    retryable: ClassVar[bool] = False


@dataclass
class Child:
    """Command under the process guard, with its output in a log file.

    `ready` is polled every tenth of a second and returns whether the command is ready. `grace` is the time in seconds
    between SIGTERM and SIGKILL.
    """

    title: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    ready: Callable[[], bool]
    folder: Path
    grace: float = GRACE
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _logged: int = field(default=0, repr=False)

    def start(self) -> None:
        """Start the command in the background."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._logged = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                python_module("local.process_guard", str(self.grace), *self.command),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                cwd=self.folder,
                start_new_session=True,
            )

    @property
    def output(self) -> bytes:
        """What the command has printed since it was last started."""
        return self.log.read_bytes()[self._logged :]

    @property
    def ended(self) -> bool:
        """Whether the command was started and has ended."""
        return self._process is not None and self._process.poll() is not None

    def check(self) -> None:
        """Raise StackError if the command has ended."""
        if self.ended:
            raise StackError(
                f"{self.title} ended with exit code {self._process.returncode if self._process else None}.\n"
                f"{_last_lines(self.log)}\nThe whole log: {self.log}"
            )

    def wait_until_ready(self, timeout: float) -> float:
        """Block until the command is ready; return the seconds it took.

        Raises:
            StackError: the command ended, or is not ready after `timeout` seconds.
        """
        start = time.monotonic()
        while not self.ready():
            self.check()
            if time.monotonic() - start > timeout:
                raise StackError(
                    f"{self.title} did not respond within {timeout:.0f} s.\n{_last_lines(self.log)}\n"
                    f"The whole log: {self.log}"
                )
            time.sleep(0.1)
        return time.monotonic() - start

    def request_stop(self) -> None:
        """Close the guard's pipe, on which the guard stops the command and all its descendants."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def wait(self) -> None:
        """Block until the command and its descendants have ended."""
        if self._process is not None:
            self._process.wait()


def answers(url: str) -> bool:
    """Whether a GET of `url` gets a 2xx response."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=5) as reply:
            return bool(200 <= reply.status < 300)
    except OSError:  # refused, reset, timed out, or a response other than 2xx
        return False


def free_port(preferred: int) -> int:
    """Return `preferred` if no process listens on it on 127.0.0.1, else a free port.

    Raises:
        StackError: no port is free.
    """
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise StackError("no port is free on 127.0.0.1", next_step="end a process that listens on one")


def clean_environment() -> dict[str, str]:
    """Return this process's environment without variables that name real accounts, and without a proxy on loopback."""
    dropped = ("PREFECT_", "CONCEPTRY_", "HF_", "HUGGING_FACE_", "HUGGINGFACE_")
    return child_environment(without=dropped, **loopback_without_proxy())


def environment_without_credentials() -> dict[str, str]:
    """Return the variables for code of a Space or an endpoint: those of the machine, none of an account."""
    kept = {name: value for name, value in os.environ.items() if name in _OPEN or name.startswith(_OPEN_PREFIXES)}
    return kept | loopback_without_proxy()


def loopback_without_proxy() -> dict[str, str]:
    """Return the variables that exempt 127.0.0.1 from a proxy."""
    return {
        name: ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))
        for name in ("NO_PROXY", "no_proxy")
    }


def _last_lines(log: Path, count: int = 12) -> str:
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(f"  | {line}" for line in text.splitlines()[-count:])
