"""What `conceptry plan --due DATE` prints: which trainings start until a day, and what they cost."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, date
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conceptry.actions import Action, Estimate
from conceptry.errors import ConceptryError
from conceptry.forecast import Forecast, Simulation
from conceptry.plan_text import cost
from flows.reconcile import Comparison
from local.console import print_table

FARTHEST = 731
"""Maximum of days ahead."""


def forecast(compared: Comparison, until: date) -> Forecast:
    """Return what starts until the end of a day in UTC, by conceptry.yaml and the places of all workers.

    Raises:
        ConceptryError: the day is over, or too far ahead.
    """
    today = compared.pace.now.astimezone(UTC).date()
    if not 0 <= (until - today).days <= FARTHEST:
        what = f"--due {until} is not between today, {today} UTC, and {FARTHEST} days from now"
        raise ConceptryError(what, next_step=f"give a day such as {today.replace(day=28)}")
    pace = replace(compared.pace, places=compared.places)
    return Simulation(compared.desired, compared.live, compared.inputs, pace).run(until)


def as_dict(found: Forecast) -> dict[str, Any]:
    """Return the JSON of a forecast."""
    return {
        "until": found.until.isoformat(),
        "starts": [
            {"at": start.at.isoformat(), **_action(start.action), "waited": [str(reason) for reason in start.waited]}
            for start in found.starts
        ],
        "waiting": [
            {**_action(action), "deferral": action.deferral, "deferred": action.deferred} for action in found.waiting
        ],
        "estimate": asdict(_total(found)),
    }


def show(found: Forecast, terminal: Console) -> None:
    """Print one row per training in the order of their starts, those that still wait last, and a summary line."""
    if not found.starts and not found.waiting:
        terminal.print(f"No training is due until {found.until}.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for title in ("starts (UTC)", "concept", "due", "takes about", "why"):
        table.add_column(title, overflow="fold", no_wrap=title != "why")
    for start in found.starts:
        waited = f" (waits: {', '.join(start.waited)})" if start.waited else ""
        table.add_row(f"{start.at:%a %Y-%m-%d %H:%M}", *_cells(start.action, start.action.cause + waited))
    for action in found.waiting:
        words = f"{action.deferral}: {action.deferred}"
        table.add_row(Text("later", style="yellow"), *_cells(action, words))
    print_table(terminal, table)
    terminal.print()
    total, later = _total(found), len(found.waiting)
    price = f", {total.usd:,.2f} USD" if total.usd else ""
    waits = f", and {later} that wait for longer" if later else ""
    words = f"{total.basis} until {found.until}: about {total.gpu_minutes:,.0f} min of training{price}{waits}."
    terminal.print(words, soft_wrap=True)


def _cells(action: Action, why: str) -> tuple[Text, ...]:
    return Text(action.concept), Text(action.retrain or "now"), Text(cost(action)), Text(why)


def _action(action: Action) -> dict[str, Any]:
    return {
        "concept": action.concept,
        "due": action.retrain,
        "reason": action.reason,
        "cause": action.cause,
        "estimate": asdict(action.estimate) if action.estimate else None,
    }


def _total(found: Forecast) -> Estimate:
    each = [start.action.estimate for start in found.starts if start.action.estimate]
    minutes, usd = sum(one.gpu_minutes for one in each), sum(one.usd for one in each)
    count = len(found.starts)
    return Estimate(round(minutes, 1), round(usd, 2), f"{count} training{'' if count == 1 else 's'}")
