"""Helpers of the emulators: loopback addresses, free ports, and the environment that child processes inherit."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable
from contextlib import ExitStack

# Language, libraries, accelerators and certificates of the machine; everything else stays with the emulator's process.
_INHERITED_PREFIXES = (
    "CUDA_",
    "KERAS_",
    "LC_",
    "MKL_",
    "NVIDIA_",
    "OMP_",
    "OPENBLAS_",
    "SSL_CERT_",
    "TF_",
    "XLA_",
)
_INHERITED = frozenset({"LANG", "LD_LIBRARY_PATH", "TMPDIR", "TZ"})


def inherited_environment(names: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables of this process that describe the machine, and those that `names` lists."""
    wanted = _INHERITED.union(names)
    return {key: value for key, value in os.environ.items() if key in wanted or key.startswith(_INHERITED_PREFIXES)}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server at an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that no process listens on at the moment."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return different free TCP ports of 127.0.0.1; all are held until the last one is known."""
    with ExitStack() as held:
        return [_bind(held) for _ in range(count)]


def _bind(held: ExitStack) -> int:
    probe = held.enter_context(socket.socket())
    probe.bind(("127.0.0.1", 0))
    return int(probe.getsockname()[1])
