"""`conceptry logs`: print what a training said."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from cli.options import Json, Name, Root, print_json
from conceptry.isolation import printable
from conceptry.version_ref import concept_name
from flows.training_output import TrainingOutput, training_output
from local.console import err, out
from local.current_setup import open_installation
from local.prefect_settings import prefect_of


def command(
    name: Name,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Id of the run, or the begin of it. Without it: the newest.", metavar="ID"),
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", help="Lines to print of each part.", min=1, max=10_000)] = 20,
    root: Root = None,
    json: Json = False,
) -> None:
    """Print the last lines of a training: of its run on the Prefect server, and of the trainer on this machine.

    It needs no Hub, and without a running Prefect server prints what the trainer wrote on this machine.
    """
    with open_installation(root) as installation, prefect_of(root):
        found = training_output(installation, concept_name(name), run=run, lines=lines)
    if json:
        print_json(as_dict(found))
    else:
        print_output(found)


def as_dict(found: TrainingOutput) -> dict[str, Any]:
    """Return the JSON of `--json`."""
    run = asdict(found.run) if found.run else None
    if found.run is not None and run is not None:
        run["since"] = found.run.since.isoformat() if found.run.since else None
    log = [{"at": moment.isoformat(), "text": text} for moment, text in found.log]
    return {"run": run, "log": log, "trainer": {"file": str(found.file) if found.file else None, "lines": found.lines}}


def print_output(found: TrainingOutput) -> None:
    """Print the run's state, its log, and the trainer's output."""
    console = out()
    if found.run is not None:
        since = f" since {found.run.since:%Y-%m-%d %H:%M:%S} UTC" if found.run.since else ""
        console.print(
            f"[bold]{found.run.name}[/] {found.run.state}{since} [dim](run {found.run.id})[/]", soft_wrap=True
        )
        if found.run.message:
            console.print(Text(printable(found.run.message)), soft_wrap=True)
        console.print("\n[bold]Run[/]")
    for moment, text in found.log:
        console.print(Text(f"{moment:%H:%M:%S} ", style="dim") + Text(printable(text)), soft_wrap=True)
    if found.file is None:
        err().print("The trainer's own output is on the machine that trained, if it has begun.", soft_wrap=True)
        return
    console.print(f"\n[bold]Trainer[/] [dim]({found.file})[/]", soft_wrap=True)
    for line in found.lines:
        console.print(Text(line), soft_wrap=True)
