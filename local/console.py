"""Consoles of the command line: results on stdout, everything else on stderr."""

from __future__ import annotations

from rich.console import Console


def out() -> Console:
    """Return the console for results; without a terminal it does not wrap lines, so that pipes get whole rows."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def err() -> Console:
    """Return the console for progress, hints and errors."""
    return Console(stderr=True, highlight=False)
