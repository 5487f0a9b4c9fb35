"""`conceptry plan`: print the plan as a table, as Markdown for a review, or as JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.due import as_dict, forecast, show
from cli.exit_codes import PLAN_BROKEN, PLAN_CHANGES, PLAN_IN_SYNC
from cli.image_checks import hold_unusable
from cli.options import Json, Root, print_json
from conceptry.actions import Action, ActionKind, ConceptPlan, Plan, plan_schema
from conceptry.installation import Installation
from conceptry.plan_text import cost, details, in_order, summary, why
from conceptry.plan_text import markdown as as_markdown
from flows.reconcile import Comparison, current_comparison
from local import console
from local.current_setup import open_running
from local.prefect_settings import prefect_of
from tasks import training
from tasks.weights_files import not_here

_STYLES = {
    ActionKind.HIDE: "bold magenta",
    ActionKind.TRAIN: "bold yellow",
    ActionKind.RELEASE: "bold cyan",
    ActionKind.RENDER: "cyan",
    ActionKind.ADOPT: "cyan",
    ActionKind.JUDGE: "cyan",
    ActionKind.ARCHIVE: "magenta",
    ActionKind.REPAIR: "bold magenta",
    ActionKind.WAIT: "blue",
    ActionKind.HOLD: "red",
    ActionKind.NOTHING: "dim",
}
_HEALTH = {"Healthy": "green", "Progressing": "yellow", "Degraded": "bold red", "Suspended": "dim", "Missing": "yellow"}
_SYNC = {"Synced": "green", "OutOfSync": "yellow", "Unknown": "dim"}


def command(
    root: Root = None,
    json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a comment on a review.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also save the plan to a file, for `conceptry apply`.", dir_okay=False)
    ] = None,
    ref: Annotated[
        str | None, typer.Option("--ref", help="Branch, tag or commit to plan for, as if it were merged.")
    ] = None,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Whether to read the images of concepts to train.")
    ] = True,
    due: Annotated[
        datetime | None,
        typer.Option(
            "--due",
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="Show instead which trainings start until the end of that day (UTC), in order, and what they cost, if "
            "git stays as it is.",
        ),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of --json instead.")] = False,
) -> None:
    """Show what the registry would do now, and why: git compared with the Hub. Changes nothing.

    Exit code: 0 nothing to do, 2 there are changes to make, 1 the plan could not be made, it does not take the runs
    on the Prefect server into account, or a concept is Degraded and there is no change to make.
    """
    if schema:
        print_json(plan_schema())
        return
    if due and (markdown or out):
        raise typer.BadParameter("--due has neither --markdown nor --out")
    with open_running(root) as installation, prefect_of(root):
        repo = installation.settings.repo
        compared = current_comparison(installation, revision=ref)
        found = forecast(compared, due.date()) if due else None
        made = _check_images(compared, installation) if images and not due else compared.plan
    for words in warnings(compared, made, installation):
        console.err().print(f"warning: {words}", style="yellow", markup=False, soft_wrap=True)
    if found is not None:
        if json:
            print_json(as_dict(found))
        else:
            show(found, console.out())
        return
    if out is not None:
        out.write_text(made.to_json() + "\n", encoding="utf-8")
    if json:
        sys.stdout.write(made.to_json().rstrip() + "\n")
    elif markdown:
        sys.stdout.write(as_markdown(made))
    else:
        print_plan(made, console.out(), repo)
        if out is not None:
            console.out().print(
                f"Saved. To carry out exactly this plan: [bold]conceptry apply {out}[/]", soft_wrap=True
            )
    raise typer.Exit(exit_code(made) if compared.problem is None else PLAN_BROKEN)


def _check_images(compared: Comparison, installation: Installation) -> Plan:
    """Return the plan with a hold for each concept that cannot be trained, because of its images."""
    with console.err().status("") as status:

        def told(name: str) -> None:
            status.update(f"checking the images of {name}")

        return hold_unusable(compared.plan, compared.desired, installation, told)


def warnings(compared: Comparison, plan: Plan, installation: Installation) -> Iterator[str]:
    """Yield what the plan lacks, and which weights of base models this machine lacks, if it trains itself."""
    if compared.problem is not None:
        yield f"training runs are not taken into account: {compared.problem}"
    if installation.settings.backend != "local":
        return
    trained = [one.concept for one in plan.concepts if one.training.kind is ActionKind.TRAIN]
    concepts = compared.desired.concepts
    specs = (concepts[name].spec for name in trained if name in concepts)
    for preset in {spec.base_model: training.preset_of(spec) for spec in specs if spec is not None}.values():
        if problem := not_here(preset, installation.base_dir):
            yield str(problem)


def exit_code(plan: Plan) -> int:
    """Return 2 if there are changes to make, as Terraform does; else 1 if a concept is degraded; else 0."""
    if plan.changes:
        return PLAN_CHANGES
    degraded = any(one.health == "Degraded" for one in plan.concepts)
    return PLAN_BROKEN if degraded else PLAN_IN_SYNC


def print_plan(plan: Plan, terminal: Console, repo: str) -> None:
    """Print one row per concept, or two if both of its concerns have an action, changes first; and a summary line."""
    if not plan.concepts:
        terminal.print(f"No concept in {repo} at {plan.revision[:8]}. `conceptry new` adds one.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    costly = any(action.estimate for action in plan.actions)
    for title in ("concept", "action", "why", *(("takes about",) if costly else ()), "sync", "health"):
        table.add_column(title, overflow="fold", no_wrap=title in ("action", "takes about", "sync", "health"))
    for one in in_order(plan):
        for index, action in enumerate(one.listed):
            table.add_row(*_row(one, action, costly=costly, first=index == 0))
    console.print_table(terminal, table)
    terminal.print()
    terminal.print(summary(plan), f"[dim]({repo} at {plan.revision[:8]})[/]", soft_wrap=True)


def _row(one: ConceptPlan, action: Action, *, costly: bool, first: bool) -> tuple[Text, ...]:
    target = f" {action.version}" if action.version and action.kind is not ActionKind.NOTHING else ""
    cause = Text(why(action))
    for line in details(action):
        cause.append(f"\n{line}", style="dim")
    return (
        Text(one.concept if first else ""),
        Text(f"{action.kind}{target}", style=_STYLES[action.kind]),
        cause,
        *((Text(cost(action)),) if costly else ()),
        Text(one.sync if first else "", style=_SYNC[one.sync]),
        Text(one.health if first else "", style=_HEALTH[one.health]),
    )
