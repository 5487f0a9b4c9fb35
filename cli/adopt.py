"""`conceptry adopt`: take over repos on the Hub that this installation did not make."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.options import Root, complete_name
from conceptry.errors import ConceptryError, UnknownConceptError
from conceptry.version_ref import concept_name
from local.console import out
from local.current_setup import open_running
from tasks import hub
from tasks.locks import hold, run_id


def command(
    names: Annotated[
        list[str],
        typer.Argument(help="Concepts whose repos to take over.", metavar="NAME...", autocompletion=complete_name),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
    root: Root = None,
) -> None:
    """Take over the model repo and the Space of a name, for example after the git repository has moved.

    Their content stays until the next watch releases what git says; files that Conceptry did not make stay in the
    history of main.
    """
    with open_running(root) as installation:
        session = hub.HubSession(installation.hub)
        for name in names:
            holders = hub.holders(session, concept_name(name))
            if not holders:
                raise UnknownConceptError(
                    "nobody else holds this name", concept=name, next_step="`conceptry plan` says what would be done"
                )
            for words in holders:
                out().print(f"{name}: {words}", soft_wrap=True)
            _confirm(name, yes=yes)
            with hold(installation.work.concept_lock(name), run_id()):
                hub.adopt(session, name)
            out().print(f"{name} belongs to this installation now ({installation.id}).", soft_wrap=True)


def _confirm(name: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConceptryError("would take over its repos", concept=name, next_step="confirm with --yes")
    if input("Take them over, so that they follow git from now on? Type the name: ").strip() != name:
        raise ConceptryError("nothing was changed", concept=name)
