"""`conceptry status`: what the registry does at the moment, on one screen."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.options import Json, Root, print_json
from conceptry.actions import Action
from conceptry.installation import Installation
from conceptry.plan_text import count, why
from conceptry.policy import Budget
from local import console
from local.current_setup import open_running
from local.prefect_settings import prefect_of

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from flows.overview import Overview

SHOWN = 8
"""Maximum of rows in a section."""


def command(root: Root = None, json: Json = False) -> None:
    """Show the servers, the last watch, what is in flight, what waits and for what, and what needs you.

    Exit code: 0, or 1 if the Prefect server does not respond or refuses.
    """
    with open_running(root) as installation, prefect_of(root):
        # Imported here: Prefect takes longer than to find that the servers are away.
        from prefect.settings import get_current_settings

        from flows.overview import overview

        found, ui = overview(installation), get_current_settings().ui_url
        if json:
            print_json(as_dict(found))
        else:
            show(found, installation, ui, console.out())
    raise typer.Exit(0 if found.comparison.problem is None else 1)


def as_dict(found: Overview) -> dict[str, Any]:
    """Return the JSON of an overview."""
    compared, last = found.comparison, found.last_watch
    return {
        "revision": compared.plan.revision,
        "problem": None if compared.problem is None else str(compared.problem),
        "last_watch": None
        if last is None
        else {"at": _ended(last, found.now).isoformat(), "state": last.state_name, "message": _message(last)},
        "last_look": None if found.last_look is None else found.last_look[0].isoformat(),
        "active": [
            {"concept": run.parameters.get("name"), "run": str(run.id), "name": run.name, "state": run.state_name}
            for run in found.active
        ],
        "waiting": [{**_action(action), "deferral": action.deferral} for action in found.waiting],
        "held": [_action(action) for action in found.held],
        "retrainings": [{"concept": name, "day": day.isoformat()} for day, name in found.retrainings],
        "spent": {"runs": found.spent.runs, "gpu_hours": found.spent.gpu_hours, "usd": found.spent.usd},
    }


def _action(action: Action) -> dict[str, Any]:
    return {"concept": action.concept, "kind": action.kind, "reason": action.reason, "why": why(action)}


def show(found: Overview, installation: Installation, ui: str | None, terminal: Console) -> None:
    """Print the overview."""
    compared, settings = found.comparison, installation.settings
    head = Table.grid(padding=(0, 2))
    head.add_row("[bold]git[/]", f"{settings.repo} ({settings.branch}) at {compared.plan.revision[:8]}")
    head.add_row("[bold]Hub[/]", f"{settings.hub_endpoint}, {settings.hub_owner}: {_counts(found)}")
    head.add_row("[bold]Prefect[/]", _prefect(found, ui))
    head.add_row("[bold]this month[/]", _spent(found, compared.pace.policy.budget))
    terminal.print(head)
    sections = (
        ("In flight", [_run(run, found.now, ui) for run in found.active]),
        ("Waiting", [(action.concept, f"{action.kind}: {why(action)}") for action in found.waiting]),
        ("Needs you", [(action.concept, why(action)) for action in found.held]),
        ("Next retrainings", [(name, f"{day:%a %Y-%m-%d}") for day, name in found.retrainings]),
    )
    for title, rows in sections:
        _section(title, rows, terminal)
    if not any(rows for _, rows in sections):
        terminal.print("\nNothing is in flight, nothing waits.")


def _section(title: str, rows: Iterable[tuple[str, str]], terminal: Console) -> None:
    listed = list(rows)
    if not listed:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 2), show_header=False)
    for name, words in listed[:SHOWN]:
        table.add_row(Text(name), Text(words))
    terminal.print(f"\n[bold]{title}[/]")
    console.print_table(terminal, table)
    if len(listed) > SHOWN:
        terminal.print(f"  and {len(listed) - SHOWN} more: `conceptry plan`")


def _counts(found: Overview) -> str:
    concepts = found.comparison.plan.concepts
    served = sum(bool(there.space and there.space.release) for there in found.comparison.live.concepts.values())
    return f"{count(len(concepts), 'concept')}, {served} served"


def _prefect(found: Overview, ui: str | None) -> Text:
    if found.comparison.problem is not None:
        return Text(str(found.comparison.problem), style="bold red")
    if ui is None:
        return Text("none (PREFECT_API_URL is not set)", style="yellow")
    last, looked = found.last_watch, found.last_look
    if looked is None:
        eyes = Text("no watcher works; is a worker running?", style="yellow")
    else:
        eyes = Text(f"looked {_ago(found.now - looked[0])} ago ({looked[1].partition(':')[0]})")
    if last is None:
        watched = Text("no watch has ended yet", style="yellow")
    else:
        words = f"last watch {_ago(found.now - _ended(last, found.now))} ago: {_message(last)}"
        watched = Text(words, style="" if last.state is not None and last.state.is_completed() else "red")
    return Text("\n").join([Text(ui), eyes, watched])


def _message(run: FlowRun) -> str:
    return (run.state.message if run.state else None) or run.state_name or ""


def _ended(run: FlowRun, now: datetime) -> datetime:
    """Return the end of a run by the server's clock; `end_time` is what the clock of the run's machine said."""
    return run.updated or run.end_time or now


def _run(run: FlowRun, now: datetime, ui: str | None) -> tuple[str, str]:
    since = run.state.timestamp if run.state else now
    link = f", {ui}/runs/flow-run/{run.id}" if ui else ""
    return str(run.parameters.get("name")), f"{run.state_name} for {_ago(now - since)}{link}"


def _spent(found: Overview, budget: Budget) -> str:
    spent = found.spent
    limits = {"runs": budget.runs, "GPU hours": budget.gpu_hours, "USD": budget.usd}
    of = ", ".join(f"{limit:g} {unit}" for unit, limit in limits.items() if limit is not None)
    words = f"{spent.runs} trainings, {spent.gpu_hours:.1f} GPU hours, {spent.usd:,.2f} USD"
    return f"{words} (budget: {of})" if of else words


def _ago(time: timedelta) -> str:
    seconds = max(0, round(time.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
