"""Ownership: which installation made a repo, and whether this one may write to it.

The id of the installation (conceptry.installation_id) is in Conceptry's part of the front matter of the card on main
and of the Space's README. It is written with the first commit to a new repo, and checked before the first write to any.

    signed with this installation's id    ours
    signed with another id                of another installation
    of Conceptry without an id            unsigned: an older release made it; ours where git has the concept
    empty                                 ours: created, and its creator was killed before the first commit
    anything else                         of somebody else
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from huggingface_hub import CardData
from huggingface_hub.hf_api import ModelInfo, SpaceInfo

from conceptry.errors import HubError
from conceptry.installation import HubTarget
from conceptry.markdown import dump_front_matter, plain, split_front_matter
from tasks.hub.client import translate_errors

if TYPE_CHECKING:
    from tasks.hub.session import HubSession, Kind

KEY = "conceptry"
"""Key of Conceptry's part of a front matter."""
OWNER = "installation"
"""Key in that part."""
GITATTRIBUTES = ".gitattributes"
README = "README.md"
RELEASED = "Release "
"""How the titles of commits to main begin that write the card."""
RESERVED = "Reserve for its concept"
"""Title of the first commit to a new model repo."""
_LOOK_BACK = 5
"""Own commits on main that are searched for a card, the newest first."""
_NEW: dict[str, frozenset[str]] = {"model": frozenset({GITATTRIBUTES}), "space": frozenset({GITATTRIBUTES, README})}
"""Files of a new repo."""

KINDS: tuple["Kind", ...] = ("model", "space")
Claim = Literal["ours", "unsigned", "empty", "another", "foreign"]


class NotOursError(HubError):
    """A repo belongs to another installation, or was not made by Conceptry; nothing was written to it."""


@dataclass(frozen=True)
class Ownership:
    """Result of a look at a repo: whose it is, and the id of the installation that signed it."""

    claim: Claim
    signed: str | None = None

    @property
    def may_write(self) -> bool:
        """Whether this installation may write to the repo."""
        return self.claim in ("ours", "unsigned", "empty")


def own_data(info: ModelInfo | SpaceInfo) -> Mapping[str, Any] | None:
    """Return Conceptry's part of a repo's front matter; None if it has none."""
    data = info.card_data.get(KEY) if isinstance(info.card_data, CardData) else None
    return data if isinstance(data, Mapping) else None


def ownership(target: HubTarget, kind: str, info: ModelInfo | SpaceInfo) -> Ownership:
    """Return whose a repo is, by its front matter and, if it has none of Conceptry, by its files.

    A listing contains no files: a repo without Conceptry's part counts as foreign there.
    """
    data = own_data(info)
    if data is not None:
        signed = data.get(OWNER)
        if not isinstance(signed, str) or not target.installation:
            return Ownership("unsigned")
        return Ownership("ours" if signed == target.installation else "another", signed)
    files = {sibling.rfilename for sibling in info.siblings} if info.siblings is not None else None
    return Ownership("empty" if files is not None and files <= _NEW[kind] else "foreign")


def holder(target: HubTarget, name: str, kind: str, found: Ownership) -> str:
    """Return in words who holds a repo that is not this installation's."""
    repo = f"the {'Space' if kind == 'space' else 'model repo'} {target.repo(name)}"
    if found.claim == "another":
        return f"{repo} belongs to another installation of Conceptry ({found.signed})"
    return f"{repo} exists and was not made by Conceptry"


def prove_ownership(session: "HubSession", name: str, kind: "Kind", *, signed: bool = False) -> None:
    """Check that this installation may write to a repo; a repo that does not exist is free.

    Args:
        session: Session with the Hub.
        name: Name of the concept.
        kind: Model repo or Space.
        signed: Refuse a repo that no installation signed, too.

    Raises:
        NotOursError: the repo belongs to another installation, or to somebody else.
    """
    info = session.model(name) if kind == "model" else session.space(name)
    if info is None:
        return
    found = ownership(session.target, kind, info)
    if found.claim == "foreign" and kind == "model" and was_ours(session, name):
        return
    if not found.may_write or (signed and found.claim != "ours"):
        raise not_ours(session.target, name, kind, found)


def check_names(session: "HubSession", name: str) -> None:
    """Check, before anything is trained, that this installation may write to the repos of a concept's name.

    Raises:
        NotOursError: one belongs to another installation, or to somebody else.
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    with translate_errors(session.target, "reading its repos", name=name):
        for kind in KINDS:
            session.prove(name, kind)


def was_ours(session: "HubSession", name: str) -> bool:
    """Whether a model repo without a card of Conceptry is this installation's, whose card a person removed.

    Evidence is a card in the history of main, or the concept's Space.
    """
    space = session.space(name)
    if space is not None and own_data(space) is not None:
        return ownership(session.target, "space", space).may_write
    newest = next(cards_in_history(session, name), None)
    return newest is not None and newest.data.get(OWNER) in (None, session.target.installation)


@dataclass(frozen=True)
class RecordedCard:
    """A concept's card at a commit of main: its text, and Conceptry's part of its front matter."""

    commit: str
    text: str
    data: Mapping[str, Any]


def cards_in_history(session: "HubSession", name: str) -> Iterator[RecordedCard]:
    """Yield the cards of a concept in the last commits to main that wrote one, the newest first.

    Raises:
        HfHubHTTPError: the Hub refused, or could not be reached.
    """
    commits = session.api.list_repo_commits(session.target.repo(name))
    for commit in [commit.commit_id for commit in commits if commit.title.startswith((RELEASED, RESERVED))][
        :_LOOK_BACK
    ]:
        text = (session.read(name, README, commit) or b"").decode("utf-8", "replace")
        data = split_front_matter(text)[0].get(KEY)
        if isinstance(data, Mapping) and data.get("concept") == name:
            yield RecordedCard(commit, text, data)


def reserving_card(name: str, installation: str) -> bytes:
    """Return the first README.md of a new model repo, which says whose it is and nothing about releases."""
    front = {"tags": ["conceptry"], KEY: {"concept": name, OWNER: installation}}
    return (dump_front_matter(front) + f"\n# {plain(name)}\n\nNo version is published yet.\n").encode()


def not_ours(target: HubTarget, name: str, kind: str, found: Ownership) -> NotOursError:
    """Return the error for a repo that this installation must not write to."""
    next_step = f"choose another name for the concept, or take it over: `conceptry adopt {name}`"
    return NotOursError(holder(target, name, kind, found), concept=name, next_step=next_step)
