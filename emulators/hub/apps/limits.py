"""What the apps of a hub may use of this machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What apps may use: how many run at once, and each one's memory in bytes, processes and seconds to start."""

    apps: int = 4
    memory: int = 4_000_000_000
    processes: int = 64
    start_seconds: float = 600.0
