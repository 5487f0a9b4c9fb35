"""Names of concepts for suggestions: those in git, and those on the Hub."""

from __future__ import annotations

from contextlib import suppress

from conceptry.errors import ConceptryError, UnknownConceptError
from conceptry.installation import Installation
from conceptry.isolation import printable_name
from conceptry.suggestion import did_you_mean

_PATIENCE = 5.0
"""Seconds for git, and for the Hub to answer at all."""


def known_concepts(installation: Installation) -> set[str]:
    """Return the names in git and on the Hub; what cannot be read within seconds is left out."""
    # Imported here, for mistakes only: the Hub's client takes half a second.
    from tasks.git.repository import head, mirror, read_concepts
    from tasks.hub.live_state import list_live
    from tasks.hub.session import HubSession
    from tasks.hub_check import check_hub

    names: set[str] = set()
    settings = installation.settings
    with suppress(ConceptryError):
        bare = mirror(settings.repo, installation.work.mirror, login=settings.repo_login, timeout=_PATIENCE)
        revision = head(bare, settings.branch)
        names |= {source.name for source in read_concepts(installation.mirror, revision)}
    with suppress(ConceptryError):
        check_hub(installation.hub, "conceptry up", timeout=_PATIENCE)
        names |= list_live(HubSession(installation.hub), sorted(names)).concepts.keys()
    return names


def explain(error: UnknownConceptError, installation: Installation) -> ConceptryError:
    """Return the error for a concept that was not found.

    If git or the Hub has a concept of this name it is `error` itself, which says where it was looked for; else it
    names the concepts whose names are alike.
    """
    wrong, known = error.concept or "", known_concepts(installation)
    if wrong in known:
        return error
    step = did_you_mean(wrong, known) or "`conceptry plan` lists all concepts"
    return UnknownConceptError(f"there is no concept named {printable_name(wrong)}", next_step=step)
