"""Adoption of repos that this installation did not make; only a user's command does this."""

from collections.abc import Mapping

from huggingface_hub import CommitOperationAdd
from huggingface_hub.hf_api import ModelInfo, SpaceInfo

from conceptry.markdown import dump_front_matter, split_front_matter
from tasks.hub.client import translate_errors
from tasks.hub.main_card import sealed
from tasks.hub.ownership import KEY, KINDS, OWNER, README, holder, ownership, was_ours
from tasks.hub.session import HubSession, Kind


def holders(session: HubSession, name: str) -> list[str]:
    """Return in words who holds the repos of a name that are not this installation's, or that are unsigned.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    with translate_errors(session.target, "reading its repos", name=name):
        return [words for kind in KINDS if (words := _held(session, name, kind))]


def adopt(session: HubSession, name: str) -> None:
    """Sign the repos of a name with this installation's id; their other content stays as it is.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    with translate_errors(session.target, "taking its repos over", name=name):
        for kind in KINDS:
            info = _info(session, name, kind)
            if info is None or info.sha is None or not _held(session, name, kind):
                continue
            old = (session.read(name, README, info.sha, kind) or b"").decode("utf-8", "replace")
            data, text = split_front_matter(old)
            own = data.get(KEY)
            kept = dict(own) if isinstance(own, Mapping) else _unknown(name, kind)
            readme = dump_front_matter({**data, KEY: {**kept, OWNER: session.target.installation}}) + text
            card = sealed(readme) if kind == "model" and "seal" in kept else readme
            session.trust(name, kind)
            session.commit(name, "Take over", [CommitOperationAdd(README, card.encode())], kind=kind, parent=info.sha)


def _unknown(name: str, kind: Kind) -> dict[str, str | None]:
    """Return Conceptry's part of the front matter of a repo that it did not make: nothing is released."""
    return {"concept": name} if kind == "model" else {"release": None}


def _info(session: HubSession, name: str, kind: Kind) -> ModelInfo | SpaceInfo | None:
    return session.model(name) if kind == "model" else session.space(name)


def _held(session: HubSession, name: str, kind: Kind) -> str | None:
    info = _info(session, name, kind)
    if info is None:
        return None
    found = ownership(session.target, kind, info)
    if found.claim in ("ours", "empty"):
        return None
    if found.claim == "unsigned":
        repo = f"the {'Space' if kind == 'space' else 'model repo'} {session.target.repo(name)}"
        return f"{repo} was made by an older release of Conceptry and does not say for which installation"
    if found.claim == "foreign" and kind == "model" and was_ours(session, name):
        return None
    return holder(session.target, name, kind, found)
