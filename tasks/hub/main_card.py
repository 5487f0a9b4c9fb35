"""Card on main as the record of a concept's versions: read, checked, and recovered if a person changed or deleted it.

The front matter holds the index (conceptry.version_index), the hashes of the other files that Conceptry wrote to main
(`files`), and a hash of the whole card without that hash (`seal`), by which later manual edits are found. Cards of
older releases have neither. What a person changed is recovered from the newest intact card in the history of main.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from huggingface_hub.hf_api import RepoFile
from pydantic import ValidationError

from conceptry.errors import HubError
from conceptry.markdown import dump_front_matter, split_front_matter
from conceptry.reasons import DriftReason
from conceptry.version import Drift, Version
from conceptry.version_index import FILE, VersionIndex, parse_file, parse_index
from tasks.hub.client import translate_errors
from tasks.hub.file_record import FileHashes
from tasks.hub.ownership import KEY, README, cards_in_history
from tasks.hub.repo_versions import versions_at
from tasks.hub.session import HubSession, Refs

SEAL = "seal"


@dataclass(frozen=True)
class MainCard:
    """README.md on main at a commit.

    Attributes:
        text: Its text; "" if it does not exist.
        data: Conceptry's part of the front matter; None if it has none.
    """

    text: str
    data: Mapping[str, Any] | None

    @classmethod
    def parse(cls, content: bytes | None) -> "MainCard":
        """Parse a README.md; None if it does not exist."""
        text = (content or b"").decode("utf-8", "replace")
        data = split_front_matter(text)[0].get(KEY)
        return cls(text, data if isinstance(data, Mapping) else None)

    @property
    def edited(self) -> bool:
        """Whether it is not as Conceptry wrote it; False for a card of an older release, which has no seal."""
        return self.data is None or self.data.get(SEAL) not in (None, _seal(self.text))

    @property
    def release(self) -> str | None:
        """Name of the version that it describes."""
        release = self.data.get("release") if self.data else None
        return release if isinstance(release, str) else None

    @property
    def files(self) -> dict[str, FileHashes]:
        """Hashes of the other files that were written with it."""
        recorded = self.data.get("files") if self.data else None
        try:
            return {path: FileHashes.model_validate(one) for path, one in dict(recorded or {}).items()}
        except (TypeError, ValueError, ValidationError):
            return {}


def sealed(readme: str) -> str:
    """Return a card with its seal."""
    data, text = split_front_matter(readme)
    return dump_front_matter({**data, KEY: {**data[KEY], SEAL: _seal(readme)}}) + text


def _seal(readme: str) -> str:
    data, text = split_front_matter(readme)
    own = data.get(KEY)
    if isinstance(own, Mapping):
        data[KEY] = {key: value for key, value in own.items() if key != SEAL}
    return hashlib.sha256((dump_front_matter(data) + text).encode()).hexdigest()[:32]


def read_card(session: HubSession, name: str, commit: str) -> MainCard:
    """Return the card on main at a commit."""
    return MainCard.parse(session.read(name, README, commit))


def listed_versions(
    session: HubSession, name: str, data: object, commit: str | None, *, in_full: bool = True
) -> tuple[Version, ...] | None:
    """Return the versions that a card's data list, sorted by number; None if it was edited and cannot be read.

    Args:
        session: Session with the Hub.
        name: Name of the concept.
        data: Conceptry's part of the front matter.
        commit: Commit of the card; versions.json is read there if the card holds too little.
        in_full: Return every version in full, and not only what a plan needs.
    """
    try:
        index = parse_index(data) if isinstance(data, Mapping) else None
    except HubError:
        return None
    if index is None or index.complete or (index.suffices and not in_full):
        return index.versions if index else None
    stored = parse_file(session.read(name, FILE, commit)) if commit else None
    return stored if stored is not None and _agree(index, stored) else None


def _agree(index: VersionIndex, stored: tuple[Version, ...]) -> bool:
    listed = [(version.number, version.fingerprint) for version in index.versions]
    return not index.suffices or listed == [(version.number, version.fingerprint) for version in stored]


def recorded_versions(session: HubSession, name: str) -> tuple[Version, ...] | None:
    """Return the versions in the newest intact card in the history of main; None if Conceptry never wrote one there.

    Raises:
        HfHubHTTPError: the Hub refused, or could not be reached.
    """
    for card in cards_in_history(session, name):
        if not MainCard(card.text, card.data).edited:
            return listed_versions(session, name, card.data, card.commit) or ()
    return None


def recover_versions(session: HubSession, name: str, refs: Refs, *, ours: bool) -> tuple[Version, ...] | None:
    """Return the versions of a concept whose card cannot be used: of the history, and of branches missing there.

    Returns None for a repo of someone else, unless `ours` says that it is the concept's.

    Raises:
        HubError: a version's manifest cannot be read.
        HfHubHTTPError: the Hub refused, or could not be reached.
    """
    recorded = recorded_versions(session, name)
    if recorded is None and not ours:
        return None
    return with_unlisted(session, name, refs, recorded or ())


def recover_card(session: HubSession, name: str) -> tuple[Version, ...]:
    """Return the versions of a concept whose card was edited, independent of the card as it is.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached, or a version's manifest cannot be read.
    """
    with translate_errors(session.target, "reading its versions", name=name):
        return recover_versions(session, name, session.refs(name) or Refs({}), ours=True) or ()


def with_unlisted(session: HubSession, name: str, refs: Refs, listed: Iterable[Version]) -> tuple[Version, ...]:
    """Return the listed versions and those of branches that are not listed, without deleted ones, sorted by number.

    For a branch in the index, the commit in the index counts; that the branch was moved is drift.
    """
    known = {one.number: one for one in listed if not refs.is_deleted(one.commit, one.number)}
    missing = Refs({f"v{number}": commit for number, commit in refs.versions.items() if number not in known})
    versions = known | {version.number: version for version in versions_at(session, name, missing, {})}
    return tuple(versions[number] for number in sorted(versions))


def card_drift(card_exists: bool) -> Drift:
    """Return the drift of a card that was deleted, or replaced or edited."""
    if card_exists:
        return Drift(DriftReason.CARD_EDITED, "the card on main was edited manually")
    return Drift(DriftReason.CARD_MISSING, "the card on main was deleted")


def find_card_edits(session: HubSession, name: str, commit: str) -> tuple[Drift, ...]:
    """Return the drift of main at a commit: an edited card, or other files than were written with it.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    with translate_errors(session.target, "comparing its card", name=name):
        card = read_card(session, name, commit)
        if not card.text or card.edited:
            return (card_drift(bool(card.text)),)
        edited = differing_main_files(session, name, card, commit)
    if not edited:
        return ()
    return (
        Drift(DriftReason.CARD_EDITED, f"files beside the card on main were edited manually ({', '.join(edited)})"),
    )


def differing_main_files(session: HubSession, name: str, card: MainCard, commit: str) -> tuple[str, ...]:
    """Return the recorded files beside a card that are missing at its commit or have other bytes."""
    recorded = card.files
    if not recorded:
        return ()
    repo = session.target.repo(name)
    tree = session.api.list_repo_tree(repo, recursive=True, revision=commit)
    found = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    return tuple(
        path for path, hashes in sorted(recorded.items()) if path not in found or not hashes.match(found[path])
    )
