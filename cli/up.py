"""`conceptry up`: run the embedded set-up in the foreground."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.panel import Panel
from rich.table import Table

from conceptry.settings import OriginSettings
from local.console import out
from local.servers import Stack, end_on_sigterm
from local.setup_folder import CLOUD_BUCKET, Folder, Setup
from tasks.git.checkout import branch_of, origin_of


def command(
    root: Annotated[Path, typer.Option("--root", help="Folder for databases, Hub and logs.", file_okay=False)] = Path(
        ".conceptry"
    ),
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
) -> None:
    """Run everything on this machine: a Prefect server with its UI, a local Hub, and the flows. Ctrl-C stops them all.

    Reads concepts from the `origin` of the current git repository, unless the folder remembers another one.
    """
    folder = Folder.at(root)
    setup = folder.read() if folder.exists() else first_setup(Path.cwd())
    if watch_every is not None:
        setup = replace(setup, watch_every=watch_every)
    if cloud_emulated is not None:
        setup = replace(setup, cloud_emulated=cloud_emulated)
    console = out()
    end_on_sigterm()
    try:
        with Stack(folder, setup, lambda text: console.print(f"[green]✓[/] {text}")) as stack:
            with console.status("Starting Prefect, the local Hub and the watcher (half a minute)..."):
                running = stack.start()
            console.print(panel(folder, running))
            stack.run_until_interrupted()
    except KeyboardInterrupt:
        console.print("Stopped; no process is left running.")


def first_setup(here: Path) -> Setup:
    """Return the set-up for the current repository, unless CONCEPTRY_REPO and CONCEPTRY_BRANCH name another."""
    chosen = OriginSettings()
    login = chosen.repo_login.get_secret_value() if chosen.repo_login else ""
    return Setup(repo=chosen.repo or origin_of(here), repo_login=login, branch=chosen.branch or branch_of(here))


def panel(folder: Folder, setup: Setup) -> Panel:
    """Return the panel of addresses that `up` prints."""
    rows = Table.grid(padding=(0, 2))
    rows.add_row("[bold]Prefect[/]", setup.prefect_sign_in, "[dim]signs in: runs, logs, artifacts[/]")
    rows.add_row("[bold]Hub[/]", setup.hub_endpoint, f"[dim]models and Spaces of {setup.hub_owner}[/]")
    rows.add_row("[bold]Concepts[/]", f"{setup.repo} ({setup.branch})", f"[dim]read every {setup.watch_every} s[/]")
    if setup.cloud_emulated:
        rows.add_row(
            "[bold]Vertex AI[/]",
            f"{setup.cloud_pages}/jobs",
            f"[dim]emulated, with gs://{CLOUD_BUCKET}; trains here[/]",
        )
    rows.add_row("[bold]Logs[/]", str(folder.logs), "")
    return Panel(
        rows,
        title="Conceptry is up",
        subtitle="Ctrl-C stops everything",
        title_align="left",
        subtitle_align="left",
        expand=False,
    )
