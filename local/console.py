"""Consoles of the command line: results on stdout, everything else on stderr."""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from conceptry.check import Check

_READABLE = 24
"""Columns that a column of words needs."""


def out() -> Console:
    """Return the console for results; without a terminal it does not wrap lines, so that pipes get whole rows."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def err() -> Console:
    """Return the console for progress, hints and errors."""
    return Console(stderr=True, highlight=False)


def print_table(console: Console, table: Table) -> None:
    """Print a table; in a terminal that is too narrow for its columns, each row as lines of titles and values."""
    columns = table.columns
    needed = sum(_least(console, column) + 3 for column in columns)
    if needed <= console.width + 3 or len(columns) < 3:
        console.print(table)
        return
    titles = [column.header.plain if isinstance(column.header, Text) else str(column.header) for column in columns]
    width = max(map(len, titles[1:]))
    for first, *others in zip(*(column.cells for column in columns), strict=True):
        if str(first):
            console.print(first, style="bold", soft_wrap=True)
        block = Table(box=None, padding=(0, 0, 0, 2), show_header=False)
        block.add_column(width=width, style="dim", no_wrap=True)
        block.add_column(overflow="fold")
        for title, value in zip(titles[1:], others, strict=True):
            if str(value):
                block.add_row(title, value)
        console.print(block)


def _least(console: Console, column: Column) -> int:
    """Return the width below which a column cannot be read: all of one that does not wrap, or a few words."""
    cells = [console.measure(cell).maximum for cell in (column.header, *column.cells)]
    return max(cells) if column.no_wrap else min(_READABLE, max(cells))


def print_check(console: Console, check: Check) -> None:
    """Print a check on one line, and below it the next step of a failed one."""
    console.print("[green]✓[/]" if check.ok else "[red]✗[/]", f"{check.title:<18}", end="")
    console.print(check.found, markup=False, soft_wrap=True)
    if not check.ok and check.next_step:
        console.print(f"    {check.next_step}", markup=False, soft_wrap=True)
