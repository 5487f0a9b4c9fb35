"""`conceptry team restore`: make a team's set-up again from a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.team_up import DEFAULT_ROOT, DatabaseOption, TeamRoot
from local.console import out
from local.team.backup import restore
from local.team.team_folder import TeamFolder


def command(
    source: Annotated[
        Path, typer.Argument(help="Folder that `conceptry team backup` wrote.", metavar="FOLDER", exists=True)
    ],
    root: TeamRoot = DEFAULT_ROOT,
    database: DatabaseOption = None,
) -> None:
    """Make a team's set-up again from a backup, in a folder that does not exist; `conceptry team up` runs it."""
    restore(TeamFolder.at(root), source, database)
    out().print(f"[green]✓[/] restored {root}; start it as always", soft_wrap=True)
