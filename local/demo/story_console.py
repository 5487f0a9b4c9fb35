"""Output of the demo: numbered chapters, the user's commands, and facts with their duration."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.status import Status
from rich.table import Table

from conceptry.errors import ConceptryError


class StoryError(ConceptryError):
    """An expectation of the story failed."""


@dataclass(frozen=True)
class Fact:
    """Observed fact: `at` seconds after the start of the story, after a wait of `took` seconds."""

    at: float
    chapter: int
    text: str
    took: float | None = None


class StoryConsole:
    """Console that prints the story and collects its facts for the table at the end."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.facts: list[Fact] = []
        self._start = time.monotonic()
        self._chapter = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start of the story."""
        return time.monotonic() - self._start

    def chapter(self, title: str) -> None:
        """Begin the next chapter."""
        self._chapter += 1
        self.console.print()
        self.console.print(Rule(f"[bold]{self._chapter}. {escape(title)}[/]", align="left", style="dim"))

    def say(self, text: str) -> None:
        """Print a line of the story."""
        self.console.print(f"  {text}")

    def command(self, text: str) -> None:
        """Print a command of the user."""
        self.console.print(f"  [dim]$[/] [cyan]{escape(text)}[/]", soft_wrap=True)

    def fact(self, text: str, took: float | None = None) -> None:
        """Print and record an observed fact; `took` is the wait for it in seconds."""
        self.facts.append(Fact(self.elapsed, self._chapter, text, took))
        seconds = "" if took is None else f" [dim]({took:.0f} s)[/]"
        self.console.print(f"  [green]✓[/] {escape(text)}{seconds}")

    @contextmanager
    def waiting(self, text: str) -> Iterator[Status]:
        """Show a spinner while the block waits; its text may be updated. Without a terminal only `text` is printed."""
        if not self.console.is_terminal:
            self.console.print(f"  … {escape(text)}")
        with self.console.status(f"{escape(text)}") as status:
            yield status

    def table(self) -> Table:
        """Return a table of all facts with their times."""
        rows = Table(title="What happened", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        rows.add_column("at", justify="right", style="dim", no_wrap=True)
        rows.add_column("", justify="right", style="dim", no_wrap=True)
        rows.add_column("what")
        rows.add_column("took", justify="right", no_wrap=True)
        for fact in self.facts:
            minutes, seconds = divmod(int(fact.at), 60)
            took = "" if fact.took is None else f"{fact.took:.0f} s"
            rows.add_row(f"{minutes}:{seconds:02d}", f"{fact.chapter}.", escape(fact.text), took)
        return rows
