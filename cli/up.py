"""`conceptry up`: run the embedded set-up in the foreground."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from cli.base_folder import choose_folder
from conceptry.settings import OriginSettings
from local.console import out
from local.current_setup import find_folder
from local.event_lines import EventLine
from local.servers import Stack, end_on_sigterm
from local.setup_folder import CLOUD_BUCKET, DEFAULT_ROOT, Folder, Setup
from tasks.git.checkout import branch_of, origin_of, registry_path


def command(
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            help="Folder for databases, Hub and logs. Without it: .conceptry here or above, else made here.",
            file_okay=False,
        ),
    ] = None,
    watch_every: Annotated[
        int | None, typer.Option("--watch-every", help="Seconds between two watches of git (30).", min=1)
    ] = None,
    cloud_emulated: Annotated[
        bool | None,
        typer.Option(
            "--cloud-emulated/--no-cloud-emulated",
            help="Train on an emulated Vertex AI with an emulated bucket, as on a real cloud. Remembered.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the addresses, and what goes wrong.")
    ] = False,
) -> None:
    """Run everything on this machine: a Prefect server with its UI, a local Hub, and the flows. Ctrl-C stops them all.

    Reads concepts from the `origin` of the current git repository, unless the folder remembers another one. Prints what
    happens to concepts, one line an event.
    """
    folder = Folder.at(root) if root else find_folder(Path.cwd()) or Folder.at(DEFAULT_ROOT)
    setup = folder.read() if folder.exists() else first_setup(Path.cwd())
    setup = replace(setup, base_dir=str(choose_folder(None, setup.base_dir)))
    if watch_every is not None:
        setup = replace(setup, watch_every=watch_every)
    if cloud_emulated is not None:
        setup = replace(setup, cloud_emulated=cloud_emulated)
    end_on_sigterm()
    try:
        run(folder, setup, out(), quiet=quiet)
    except KeyboardInterrupt:
        if not quiet:
            out().print("Stopped; no process is left running.")
        # Python would take apart all that Prefect imported, for up to two seconds on a busy machine.
        sys.stdout.flush()
        os._exit(0)


def run(folder: Folder, setup: Setup, console: Console, *, quiet: bool) -> None:
    """Run the servers, and print what happens.

    Raises:
        StackError: a server did not start, or ended again and again.
        KeyboardInterrupt: the normal end.
    """
    # Imported here: it imports Prefect's client of events, which a mistake in the arguments need not wait for.
    from local.event_feed import EventFeed

    began = datetime.now(UTC)

    def report(text: str) -> None:
        console.print(f"{datetime.now():%H:%M:%S}  {text}", markup=False, soft_wrap=True, style="yellow")

    def show(line: EventLine) -> None:
        if line.problem or not quiet:
            console.print(line.text(), soft_wrap=True)

    status = console.status("Starting Prefect, the local Hub and the watcher (half a minute)...")
    with Stack(folder, setup, report, lambda text: status.update(f"{text}; waiting for the others...")) as stack:
        with status:
            running = stack.start()
        console.print(addresses(running) if quiet else panel(folder, running))
        with EventFeed(folder.root, began, show):
            stack.run_until_interrupted()


def first_setup(here: Path) -> Setup:
    """Return the set-up for the current repository and folder, unless CONCEPTRY_REPO, _BRANCH and _PATH name others."""
    chosen = OriginSettings()
    login = chosen.repo_login.get_secret_value() if chosen.repo_login else ""
    repo, branch = chosen.repo or origin_of(here), chosen.branch or branch_of(here)
    return Setup(repo=repo, repo_login=login, branch=branch, path=registry_path(chosen, here))


def addresses(setup: Setup) -> Table:
    """Return the addresses of the servers, one a row."""
    rows = Table.grid(padding=(0, 2))
    rows.add_row("[bold]Prefect[/]", setup.prefect_sign_in, "[dim]signs in: runs, logs, artifacts[/]")
    rows.add_row("[bold]Hub[/]", setup.hub_endpoint, f"[dim]models and Spaces of {setup.hub_owner}[/]")
    if setup.cloud_emulated:
        rows.add_row(
            "[bold]Vertex AI[/]",
            f"{setup.cloud_pages}/jobs",
            f"[dim]emulated, with gs://{CLOUD_BUCKET}; trains here[/]",
        )
    return rows


def panel(folder: Folder, setup: Setup) -> Panel:
    """Return the panel of addresses that `up` prints."""
    rows = addresses(setup)
    rows.add_row("[bold]Concepts[/]", f"{setup.repo} ({setup.branch})", f"[dim]read every {setup.watch_every} s[/]")
    rows.add_row("[bold]Logs[/]", str(folder.logs), "")
    return Panel(
        rows,
        title="Conceptry is up",
        subtitle="Ctrl-C stops everything",
        title_align="left",
        subtitle_align="left",
        expand=False,
    )
