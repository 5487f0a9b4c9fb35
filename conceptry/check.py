"""Result of one check of an installation, with its next step."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """Result of one check: its title, whether it passed, what it found, and the next step if it failed."""

    title: str
    ok: bool
    found: str
    next_step: str = ""
