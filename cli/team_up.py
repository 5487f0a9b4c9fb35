"""`conceptry team up`: run a team's set-up in the foreground."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.panel import Panel
from rich.table import Table

from conceptry.settings import OriginSettings
from local.console import out
from local.servers import end_on_sigterm
from local.team.team_folder import TeamFolder, TeamSetup
from local.team.team_servers import TeamServers
from tasks.git.checkout import branch_of, origin_of, registry_path

TeamRoot = Annotated[Path, typer.Option("--root", help="Folder of the set-up.", file_okay=False)]
DEFAULT_ROOT = Path(".conceptry-team")
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        help="Address of Prefect's database, for a host with systemd units. Without it: the set-up's own PostgreSQL.",
    ),
]


def command(
    root: TeamRoot = DEFAULT_ROOT,
    host: Annotated[
        str | None, typer.Option("--host", help="Name for the certificate and the addresses (localhost).")
    ] = None,
    one_user: Annotated[
        bool | None,
        typer.Option(
            "--one-user/--separate-users",
            help="Run all services as the current user; the default, remembered, without root.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a team's set-up on this machine. Ctrl-C stops it; the next start goes on with the same data.

    PostgreSQL, Prefect server and Hub are reached over TLS only through nginx; two workers have work folders of their
    own. Started by root, each service runs as a system user of its own. Needs PostgreSQL and nginx from the system's
    packages.

    Reads concepts from the `origin` of the current git repository, unless the folder remembers another one.
    """
    folder = TeamFolder.at(root)
    console = out()
    if folder.exists():
        setup = folder.read()
    else:
        chosen, here = OriginSettings(), Path.cwd()
        login = chosen.repo_login.get_secret_value() if chosen.repo_login else ""
        repo, branch = chosen.repo or origin_of(here), chosen.branch or branch_of(here)
        path, separate = registry_path(chosen, here), os.geteuid() == 0
        setup = TeamSetup(repo=repo, repo_login=login, branch=branch, path=path, separate_users=separate)
    if one_user is not None:
        setup = replace(setup, separate_users=not one_user)
    if host is not None:
        setup = replace(setup, host=host)
    if not setup.separate_users:
        step = "" if os.geteuid() == 0 else "; started by root, each has a system user of its own"
        console.print(f"All services run as one user{step}.")
    end_on_sigterm()
    try:
        with TeamServers(folder, setup, lambda text: console.print(f"[green]✓[/] {text}")) as servers:
            with console.status("Starting PostgreSQL, Prefect, the Hub, nginx and two workers (a minute)..."):
                running = servers.start()
            console.print(panel(folder, running))
            servers.run_until_interrupted()
    except KeyboardInterrupt:
        console.print("Stopped; no process is left running.")


def panel(folder: TeamFolder, setup: TeamSetup) -> Panel:
    """Return the panel of addresses that `team up` prints."""
    rows = Table.grid(padding=(0, 2))
    rows.add_row("[bold]Prefect[/]", setup.prefect_url, f"[dim]sign in with prefect_auth of {folder.file}[/]")
    rows.add_row("[bold]Hub[/]", setup.hub_url, "[dim]sign in with hub_token[/]")
    rows.add_row("[bold]Trust[/]", str(folder.trusted), "[dim]certificates, for SSL_CERT_FILE and git[/]")
    rows.add_row("[bold]Concepts[/]", f"{setup.repo} ({setup.branch})", "")
    rows.add_row("[bold]Logs[/]", str(folder.logs), "")
    return Panel(
        rows,
        title="The team's set-up is up",
        subtitle="Ctrl-C stops everything",
        title_align="left",
        subtitle_align="left",
        expand=False,
    )
