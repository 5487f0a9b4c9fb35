"""`conceptry up`: the embedded set-up in the foreground."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from rich.panel import Panel
from rich.table import Table

from local.console import out
from local.servers import Stack, end_on_sigterm
from local.setup_folder import CLOUD_BUCKET, Folder, Setup, branch_here, repository_here


def run(root: Path, watch_every: int | None, cloud_emulated: bool | None) -> None:
    """Start the servers of the set-up in `root`, which is made when there is none, and stay until Ctrl-C or SIGTERM."""
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
        console.print("Stopped; nothing is left running.")


def first_setup(here: Path) -> Setup:
    """The set-up for the repository that the user is in; CONCEPTRY_REPO and CONCEPTRY_BRANCH say otherwise."""
    repo = os.environ.get("CONCEPTRY_REPO") or repository_here(here)
    return Setup(repo=repo, branch=os.environ.get("CONCEPTRY_BRANCH") or branch_here(here))


def panel(folder: Folder, setup: Setup) -> Panel:
    """Addresses and what to do with them."""
    rows = Table.grid(padding=(0, 2))
    rows.add_row("[bold]Prefect[/]", setup.prefect_ui, "[dim]runs, logs, artifacts[/]")
    rows.add_row("[bold]Hub[/]", setup.hub_endpoint, f"[dim]models and Spaces of {setup.hub_owner}[/]")
    rows.add_row(
        "[bold]Concepts[/]", f"{setup.repo} ({setup.branch})", f"[dim]looked at every {setup.watch_every} s[/]"
    )
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
        subtitle="Ctrl-C stops it all",
        title_align="left",
        subtitle_align="left",
        expand=False,
    )
