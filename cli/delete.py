"""`conceptry delete`: delete a concept that is no longer in git from the Hub."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.options import Name, Root
from conceptry.errors import ConceptryError, UnknownConceptError
from conceptry.installation import Installation
from conceptry.version_ref import concept_name
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
        check_deletable(installation, concept_name(name))
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
        ConceptryError: as `check_deletable`, because others may have pushed or deleted meanwhile.
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    session = check_deletable(installation, name)
    with hold(installation.work.concept_lock(name), run_id()):
        hub.delete_concept(session, name)


def check_deletable(installation: Installation, name: str) -> hub.HubSession:
    """Return a session with the Hub that has a concept which git does not have.

    Raises:
        ConceptryError: the concept is still in git.
        UnknownConceptError: it is not on the Hub.
        HubError, TransientError: git or the Hub could not be read.
    """
    if name in read_desired(installation).concepts:
        raise ConceptryError(
            "is still in git, so the watcher would train it again",
            concept=name,
            next_step=f"remove concepts/{name} and push first",
        )
    session = hub.HubSession(installation.hub)
    if name not in hub.list_live(session, [name]).concepts:
        raise UnknownConceptError(
            "is not on the Hub", concept=name, next_step="check the name: `conceptry plan` lists all concepts"
        )
    return session
