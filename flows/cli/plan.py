"""`conceptry plan`: what the registry would do, as a table for people or JSON for programs."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conceptry.plan import Action, ActionKind, Plan
from flows.cli.console import out
from flows.stack.folder import load_settings

NOTHING_TO_DO, BROKEN, SOMETHING_TO_DO = 0, 1, 2

_STYLES = {
    ActionKind.TRAIN: "bold yellow",
    ActionKind.RELEASE: "bold cyan",
    ActionKind.RENDER: "cyan",
    ActionKind.ADOPT: "cyan",
    ActionKind.ARCHIVE: "magenta",
    ActionKind.REPAIR: "bold magenta",
    ActionKind.WAIT: "blue",
    ActionKind.HOLD: "red",
    ActionKind.NOTHING: "dim",
}
_HEALTH = {"Healthy": "green", "Progressing": "yellow", "Degraded": "bold red", "Suspended": "dim", "Missing": "yellow"}
_SYNC = {"Synced": "green", "OutOfSync": "yellow", "Unknown": "dim"}


def show_plan(root: Path | None, *, as_json: bool) -> int:
    """Make the plan for the set-up in `root` (or the environment's), print it and return the exit code."""
    settings = load_settings(root)
    from flows.watch import current_plan  # with Prefect, seconds to import: settings are checked before

    plan = current_plan(settings)
    if as_json:
        sys.stdout.write(plan.to_json().rstrip() + "\n")
    else:
        print_plan(plan, out(), settings.repo)
    return exit_code(plan)


def exit_code(plan: Plan) -> int:
    """0 nothing to do, 2 something to do, 1 a concept is broken and a person is needed."""
    if any(action.health == "Degraded" for action in plan.actions):
        return BROKEN
    return SOMETHING_TO_DO if plan.changes else NOTHING_TO_DO


def print_plan(plan: Plan, console: Console, repo: str) -> None:
    """Print one row a concept, what is to be done first, and one line that sums it up."""
    if not plan.actions:
        console.print(f"No concept in {repo} at {plan.revision[:8]}. `conceptry new` adds one.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for title in ("concept", "action", "why", "sync", "health"):
        table.add_column(title, overflow="fold", no_wrap=title in ("action", "sync", "health"))
    order = list(ActionKind)
    for action in sorted(plan.actions, key=lambda action: (order.index(action.kind), action.concept)):
        table.add_row(*_row(action))
    console.print(table)
    console.print()
    console.print(summary(plan), f"[dim]({repo} at {plan.revision[:8]})[/]", soft_wrap=True)


def summary(plan: Plan) -> str:
    """The plan in one line: how many concepts for each kind of action."""
    words = {ActionKind.WAIT: "waiting for `dvc push`", ActionKind.HOLD: "held", ActionKind.NOTHING: "unchanged"}
    counts = Counter(action.kind for action in plan.actions)
    parts = [f"{counts[kind]} {words.get(kind, f'to {kind}')}" for kind in ActionKind if counts[kind]]
    return ", ".join(parts) + "."


def _row(action: Action) -> tuple[Text, ...]:
    target = f" {action.version}" if action.version and action.kind is not ActionKind.NOTHING else ""
    return (
        Text(action.concept),
        Text(f"{action.kind}{target}", style=_STYLES[action.kind]),
        Text(action.cause),
        Text(action.sync, style=_SYNC.get(action.sync, "")),
        Text(action.health, style=_HEALTH.get(action.health, "")),
    )
