"""Consoles of the command line: results on stdout, everything else on stderr."""

from __future__ import annotations

from rich.console import Console

from conceptry.check import Check


def out() -> Console:
    """Return the console for results; without a terminal it does not wrap lines, so that pipes get whole rows."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def err() -> Console:
    """Return the console for progress, hints and errors."""
    return Console(stderr=True, highlight=False)


def print_check(console: Console, check: Check) -> None:
    """Print a check on one line, and below it the next step of a failed one."""
    console.print("[green]✓[/]" if check.ok else "[red]✗[/]", f"{check.title:<18}", end="")
    console.print(check.found, markup=False, soft_wrap=True)
    if not check.ok and check.next_step:
        console.print(f"    {check.next_step}", markup=False, soft_wrap=True)
