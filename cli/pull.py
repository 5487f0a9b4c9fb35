"""`conceptry pull`: download the files of a version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Root, VersionArgument
from conceptry.version_ref import VersionRef
from local.console import out
from local.current_setup import open_running
from tasks.hub import HubSession, pull


def command(
    version: VersionArgument,
    folder: Annotated[Path, typer.Argument(help="Folder for its files.", metavar="DIR", file_okay=False)],
    root: Root = None,
) -> None:
    """Download a version, every file checked by its sha256."""
    with open_running(root) as installation:
        found = pull(HubSession(installation.hub), VersionRef.parse(version), folder)
    count = len(found.manifest.files)
    out().print(
        f"[green]✓[/] {found.title} is in [bold]{folder}[/]: {count} files, each with its sha256.", soft_wrap=True
    )
