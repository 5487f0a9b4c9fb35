"""Card on main of the model repo: the released version's description and the index of all versions."""

from collections.abc import Callable, Collection, Mapping

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError

from conceptry.errors import HubError, PublishConflictError
from conceptry.version import Manifest, Version
from conceptry.version_index import FILE, dump_file, dump_index
from tasks.hub.card import BEFORE, EMBEDS, GRID, render_card, render_unreleased
from tasks.hub.client import translate_errors
from tasks.hub.file_record import FileHashes
from tasks.hub.main_card import (
    MainCard,
    differing_main_files,
    listed_versions,
    read_card,
    recorded_versions,
    recover_versions,
    sealed,
)
from tasks.hub.ownership import KEY, README, RELEASED
from tasks.hub.repair import restore_branches
from tasks.hub.repo_versions import deletion_mark, read_manifest, versions_at
from tasks.hub.session import HubSession, Refs

SHOWN = (GRID, BEFORE, EMBEDS)
"""Files of the released version that main contains as well: the card's images and the vectors."""
_FEW = 3
"""Versions that are rather read one by one than searched for in the history of main."""
LOOKS = 8


def update_main(
    session: HubSession,
    name: str,
    release: str | None = None,
    *,
    keep: bool = False,
    revise: Callable[[Version], Version] | None = None,
) -> tuple[Version, ...]:
    """Reconcile main with the branches: the index of all versions, and the card and files of the released one.

    The branches are authoritative, not the previous content of main; only versions that main does not list yet are
    read. Without a change nothing is committed.

    Args:
        session: Session with the Hub.
        name: Name of the concept.
        release: Name of the released version, vN; None if no version is released.
        keep: Describe the version that main describes already, whatever `release` is; its deletion is withdrawn.
        revise: Returns the entry of a version as it shall be from now on.

    Returns:
        All versions, sorted by number.

    Raises:
        HubError: the released version does not exist, or Conceptry did not write the card.
        PublishConflictError, TransientError: a retry may succeed.
    """
    with translate_errors(session.target, "updating its card", name=name):
        for _ in range(LOOKS):
            versions = _update(session, name, release, keep=keep, revise=revise)
            if versions is not None:
                return versions
            session.forget(name)
    what = f"main of {session.target.repo(name)} was changed by other processes in each of {LOOKS} updates of its card"
    raise PublishConflictError(what, concept=name, next_step="try again; flows do so by themselves")


def _update(
    session: HubSession, name: str, release: str | None, *, keep: bool, revise: Callable[[Version], Version] | None
) -> tuple[Version, ...] | None:
    """Try once; return None if another process changed main at the same time."""
    repo, refs = session.target.repo(name), session.refs(name)
    if refs is None:
        raise HubError(
            f"{repo} was deleted", concept=name, next_step="nothing to do: the next plan trains its versions again"
        )
    head = refs.branches["main"]
    files = session.files(name, head)
    old = read_card(session, name, head) if README in files else MainCard("", None)
    known = _known(session, name, old, head, refs=refs)
    # Who deleted a branch by hand deletes no version: its number is known here, and nowhere else once it is not listed.
    refs = restore_branches(session, name, refs, known.values())
    if keep:
        release, refs = old.release, _withdraw(session, name, refs, known, release=old.release)
    versions = versions_at(session, name, refs, known)
    versions = tuple(map(revise, versions)) if revise else versions
    if keep and release not in {version.name for version in versions}:
        release = None
    main = _Main(session, name, versions, _released(repo, name, versions, release))
    trusted = old.files if old.release == release and not old.edited else {}
    # The files of a release never change, the index does.
    trusted = {path: hashes for path, hashes in trusted.items() if path != FILE}
    contents = main.contents([path for path in main.paths if path not in trusted or path not in files])
    card = main.card({**trusted, **{path: FileHashes.of(content) for path, content in contents.items()}})
    if card == old.text:
        contents = main.contents(differing_main_files(session, name, old, head))
    else:
        contents[README] = card.encode()
    gone = [path for path in (*SHOWN, FILE) if path in files and path not in main.paths]
    if not contents and not gone:
        return versions
    try:
        session.commit(
            name,
            f"{RELEASED}{release or 'nothing'}",
            [
                *(CommitOperationAdd(path, content) for path, content in contents.items()),
                *(CommitOperationDelete(path) for path in gone),
            ],
            parent=head,
        )
    except HfHubHTTPError as error:
        if error.response.status_code in (409, 412):
            return None
        raise
    return versions


class _Main:
    """Content of main: card, files of the released version, and versions.json if the card cannot hold the index."""

    def __init__(self, session: HubSession, name: str, versions: tuple[Version, ...], version: Version | None) -> None:
        self._session, self._name, self._versions, self._version = session, name, versions, version
        self._manifest: Manifest | None = read_manifest(session, name, version) if version else None
        self._shown = [path for path in SHOWN if self._manifest and path in self._manifest.files]
        complete = set(dump_index(versions)) == {"versions"}
        self.paths = [*self._shown, *([] if complete else [FILE])]

    def contents(self, paths: Collection[str]) -> dict[str, bytes]:
        """Return the content of these files."""
        found = {}
        for path in self.paths:
            if path in paths and path == FILE:
                found[path] = dump_file(self._name, self._versions)
            elif path in paths and self._version:
                found[path] = self._session.read(self._name, path, self._version.commit) or b""
        return found

    def card(self, hashes: Mapping[str, FileHashes]) -> str:
        """Return README.md; `hashes` are those of the other files."""
        record = {path: hashes[path].model_dump() for path in self.paths}
        if self._version is None or self._manifest is None:
            return sealed(render_unreleased(self._name, self._versions, record, self._session.target.installation))
        repo = self._session.target.repo(self._name)
        card = render_card(
            self._manifest,
            repo=repo,
            files=self._shown,
            version=self._version,
            versions=self._versions,
            record=record,
            installation=self._session.target.installation,
        )
        return sealed(card)


def _withdraw(session: HubSession, name: str, refs: Refs, known: Mapping[int, Version], *, release: str | None) -> Refs:
    """Withdraw the deletion of the version that main describes; return the refs afterwards."""
    version = next((version for version in known.values() if version.name == release), None)
    if version is None or refs.branches.get(version.name) != version.commit or not refs.is_deleted(version.commit):
        return refs
    session.delete_tag(name, deletion_mark(version))
    return session.refs(name) or refs


def _known(session: HubSession, name: str, old: MainCard, head: str, *, refs: Refs) -> dict[int, Version]:
    """Return the versions whose manifests need not be read, by number, from the card or from the history of main.

    Raises:
        HubError: main has a card that Conceptry did not write, and never had one of its own.
    """
    versions: tuple[Version, ...] | None = ()
    if old.data is not None and not old.edited:
        versions = listed_versions(session, name, old.data, head)
    elif old.text and old.data is None:
        versions = recover_versions(session, name, refs, ours=_serves(session, name))
        if versions is None:
            session.prove(name)
            versions = ()
    elif len(refs.versions) > _FEW:
        versions = recorded_versions(session, name)
    return {version.number: version for version in versions or ()}


def _serves(session: HubSession, name: str) -> bool:
    """Whether the Space of that name is Conceptry's."""
    space = session.space(name)
    return space is not None and space.card_data is not None and KEY in space.card_data


def _released(repo: str, name: str, versions: tuple[Version, ...], release: str | None) -> Version | None:
    version = next((version for version in versions if version.name == release), None)
    if version is None and release is not None:
        published = ", ".join(version.name for version in versions) or "none"
        what = f"{repo} has no version {release}; published: {published}"
        raise HubError(what, concept=name, next_step="release one of them")
    return version
