"""`conceptry delete`: a concept that is no longer in git."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.options import Name, Root
from conceptry.errors import ConceptryError
from flows.garbage_collection import delete_concept
from local.console import out
from local.setup_folder import open_installation


def command(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    root: Root = None,
) -> None:
    """Delete a concept that is no longer in git from the Hub, with all its versions. It cannot be undone."""
    with open_installation(root) as installation:
        repo = installation.hub.url(name)
        if not yes:
            if not sys.stdin.isatty():
                raise ConceptryError(f"would delete {repo} for good", concept=name, next_step="confirm with --yes")
            if input(f"Delete {repo} and its Space, with all versions, for good? Type the name: ").strip() != name:
                raise ConceptryError("nothing was deleted", concept=name)
        delete_concept(installation, name)
    out().print(f"{repo} and its Space are gone.", soft_wrap=True)
