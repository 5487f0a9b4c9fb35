"""The two consoles of the command line: results on stdout, everything else on stderr."""

from __future__ import annotations

from rich.console import Console


def out() -> Console:
    """Where results go. Without a terminal lines are as wide as they need: nobody wants a wrapped table in a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def err() -> Console:
    """Where progress, hints and errors go."""
    return Console(stderr=True, highlight=False)
