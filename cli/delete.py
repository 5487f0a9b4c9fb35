"""`conceptry delete`: delete a concept that is no longer in git from the Hub."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.options import Name, Root
from conceptry.errors import ConceptryError
from conceptry.installation import Installation
from local.console import out
from local.current_setup import open_running
from tasks import hub
from tasks.git.desired_concepts import read_desired
from tasks.locks import hold, run_id


def command(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
    root: Root = None,
) -> None:
    """Delete a concept that is no longer in git from the Hub, with all its versions. It cannot be undone."""
    with open_running(root) as installation:
        repo = installation.hub.url(name)
        if not yes:
            if not sys.stdin.isatty():
                raise ConceptryError(f"would delete {repo} permanently", concept=name, next_step="confirm with --yes")
            if input(f"Delete {repo} and its Space, with all versions, permanently? Type the name: ").strip() != name:
                raise ConceptryError("nothing was deleted", concept=name)
        delete_concept(installation, name)
    out().print(f"{repo} and its Space were deleted.", soft_wrap=True)


def delete_concept(installation: Installation, name: str) -> None:
    """Delete a concept's repos permanently.

    Raises:
        ConceptryError: the concept is still in git, or is not on the Hub.
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    if name in read_desired(installation).concepts:
        raise ConceptryError(
            "is still in git, so the watcher would train it again",
            concept=name,
            next_step=f"remove concepts/{name} and push first",
        )
    session = hub.HubSession(installation.hub)
    if name not in hub.list_live(session, [name]).concepts:
        raise ConceptryError(
            "is not on the Hub", concept=name, next_step="check the name: `conceptry plan` lists all concepts"
        )
    with hold(installation.work.concept_lock(name), run_id()):
        hub.delete_concept(session, name)
