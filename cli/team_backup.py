"""`conceptry team backup`: back up a team's set-up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.team_up import DEFAULT_ROOT, DatabaseOption, TeamRoot
from local.console import out
from local.team.backup import back_up
from local.team.team_folder import TeamFolder


def command(
    target: Annotated[Path, typer.Argument(help="Folder to write; it must not exist.", metavar="FOLDER")],
    root: TeamRoot = DEFAULT_ROOT,
    database: DatabaseOption = None,
) -> None:
    """Back up a team's set-up, while it runs or not: Prefect's database, the Hub, the work folders and the secrets."""
    back_up(TeamFolder.at(root), target, database)
    out().print(f"[green]✓[/] backed up to {target}, which contains secrets", soft_wrap=True)
