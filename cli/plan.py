"""`conceptry plan`: what the registry would do, as a table for people, Markdown for a review, or JSON for programs."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from local.console import out
from conceptry.errors import ConceptryError
from conceptry.plan import Action, ActionKind, Plan
from conceptry.plan_text import cost, details, in_order, markdown, summary, why
from local.setup_folder import load_settings

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


@dataclass(frozen=True)
class Wish:
    """How the plan is wanted: as JSON or Markdown, kept in a file, of another revision than the branch's head."""

    as_json: bool = False
    as_markdown: bool = False
    out: Path | None = None
    ref: str | None = None


def show_plan(root: Path | None, wish: Wish) -> int:
    """Make the plan for the set-up in `root` (or the environment's), print it and return the exit code."""
    settings = load_settings(root)
    from flows.outlook import current_outlook  # with Prefect, seconds to import: settings are checked before

    plan = current_outlook(settings, revision=wish.ref).plan
    if wish.out is not None:
        wish.out.write_text(plan.to_json() + "\n", encoding="utf-8")
    if wish.as_json:
        sys.stdout.write(plan.to_json().rstrip() + "\n")
    elif wish.as_markdown:
        sys.stdout.write(markdown(plan))
    else:
        print_plan(plan, out(), settings.repo)
        if wish.out is not None:
            out().print(f"Saved. To do exactly this: [bold]conceptry apply {wish.out}[/]", soft_wrap=True)
    return exit_code(plan)


def show_schema() -> None:
    """Print the JSON Schema of `--json`."""
    from conceptry.actions import plan_schema

    sys.stdout.write(json.dumps(plan_schema(), indent=2) + "\n")


def apply_plan(root: Path | None, file: Path) -> None:
    """Carry out a saved plan.

    Raises:
        ConceptryError: git or the Hub has moved since it was made, or a change did not work.
    """
    text = file.read_text(encoding="utf-8")
    agreed = Plan.from_json(text)
    load_settings(root)
    from flows.apply import apply

    done = apply(text, return_state=True)
    if not done.is_completed():
        raise ConceptryError(str(done.message))
    out().print(f"{done.message}. [dim]({summary(agreed)})[/]", soft_wrap=True)


def exit_code(plan: Plan) -> int:
    """2 something to do, as Terraform says it; else 1 a concept is broken and a person is needed; else 0."""
    if plan.changes:
        return SOMETHING_TO_DO
    return BROKEN if any(action.health == "Degraded" for action in plan.actions) else NOTHING_TO_DO


def print_plan(plan: Plan, console: Console, repo: str) -> None:
    """Print one row a concept, what is to be done first, and one line that sums it up."""
    if not plan.actions:
        console.print(f"No concept in {repo} at {plan.revision[:8]}. `conceptry new` adds one.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    costly = any(action.estimate for action in plan.actions)
    for title in ("concept", "action", "why", *(("takes about",) if costly else ()), "sync", "health"):
        table.add_column(title, overflow="fold", no_wrap=title in ("action", "takes about", "sync", "health"))
    for action in in_order(plan):
        table.add_row(*_row(action, costly=costly))
    console.print(table)
    console.print()
    console.print(summary(plan), f"[dim]({repo} at {plan.revision[:8]})[/]", soft_wrap=True)


def _row(action: Action, *, costly: bool) -> tuple[Text, ...]:
    target = f" {action.version}" if action.version and action.kind is not ActionKind.NOTHING else ""
    cause = Text(why(action))
    for line in details(action):
        cause.append(f"\n{line}", style="dim")
    return (
        Text(action.concept),
        Text(f"{action.kind}{target}", style=_STYLES[action.kind]),
        cause,
        *((Text(cost(action)),) if costly else ()),
        Text(action.sync, style=_SYNC.get(action.sync, "")),
        Text(action.health, style=_HEALTH.get(action.health, "")),
    )
