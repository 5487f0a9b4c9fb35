"""Resource limits of a Hub's apps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of all apps, and of each.

    Attributes:
        apps: how many run at once.
        memory: of each app, in bytes.
        processes: of each app.
        start_seconds: from the start of an app until it listens on its port.
    """

    apps: int = 4
    memory: int = 4_000_000_000
    processes: int = 64
    start_seconds: float = 600.0
