"""Card on main of the model repo: the released version's description and the index of all versions."""

from collections.abc import Mapping

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError

from conceptry.errors import HubError, PublishConflictError
from conceptry.markdown import split_front_matter
from conceptry.version import Version
from tasks.hub.card import BEFORE, EMBEDS, GRID, render_card, render_unreleased
from tasks.hub.client import translate_errors
from tasks.hub.repo_versions import deletion_mark, read_manifest, versions_at
from tasks.hub.session import KEY, HubSession, Refs

README = "README.md"
SHOWN = (GRID, BEFORE, EMBEDS)
"""Files of the released version that main contains as well: the card's images and the vectors."""
LOOKS = 8


def update_main(
    session: HubSession, name: str, release: str | None = None, *, keep: bool = False
) -> tuple[Version, ...]:
    """Reconcile main with the branches: the index of all versions, and the card and files of the released one.

    The branches are authoritative, not the previous content of main; only versions that main does not list yet are
    read. Without a change nothing is committed.

    Args:
        session: Session with the Hub.
        name: Name of the concept.
        release: Name of the released version, vN; None if no version is released.
        keep: Describe the version that main describes already, whatever `release` is; its deletion is withdrawn.

    Returns:
        All versions, sorted by number.

    Raises:
        HubError: the released version does not exist, or Conceptry did not write the card.
        PublishConflictError, TransientError: a retry may succeed.
    """
    with translate_errors(session.target, "updating its card", name=name):
        for _ in range(LOOKS):
            versions = _update(session, name, release, keep=keep)
            if versions is not None:
                return versions
            session.forget(name)
    what = f"main of {session.target.repo(name)} was changed by other processes in each of {LOOKS} updates of its card"
    raise PublishConflictError(what, concept=name, next_step="try again; flows do so by themselves")


def _update(session: HubSession, name: str, release: str | None, *, keep: bool) -> tuple[Version, ...] | None:
    """Try once; return None if another process changed main at the same time."""
    repo, refs = session.target.repo(name), session.refs(name)
    if refs is None:
        raise HubError(
            f"{repo} was deleted", concept=name, next_step="nothing to do: the next plan trains its versions again"
        )
    head = refs.branches["main"]
    files = session.files(name, head)
    old = (session.read(name, README, head) or b"").decode("utf-8", "replace") if README in files else ""
    known = _known(repo, name, old)
    if keep:
        release, refs = _said_release(old), _withdraw(session, name, refs, known, release=_said_release(old))
    versions = versions_at(session, name, refs, known)
    if keep and release not in {version.name for version in versions}:
        release = None
    version = _released(repo, name, versions, release)
    manifest = read_manifest(session, name, version) if version else None
    shown = [path for path in SHOWN if manifest and path in manifest.files]
    if version and manifest:
        card = render_card(manifest, repo=repo, files=shown, version=version, versions=versions)
    else:
        card = render_unreleased(name, versions)
    moved = _said_release(old) != release
    fetched = [path for path in shown if moved or path not in files]
    if card == old and not fetched:
        return versions
    contents = {path: session.read(name, path, version.commit) or b"" for path in fetched if version}
    gone = [path for path in SHOWN if path in files and path not in shown]
    try:
        session.commit(
            name,
            f"Release {release}" if release else "Release nothing",
            [
                CommitOperationAdd(README, card.encode()),
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


def listed_versions(session: HubSession, name: str, refs: Refs) -> tuple[Version, ...]:
    """Return the versions that the card on main lists; none if it cannot be read."""
    head = refs.branches.get("main")
    readme = session.read(name, README, head) if head else None
    try:
        return tuple(_known(name, name, (readme or b"").decode("utf-8", "replace")).values())
    except HubError:
        return ()


def _withdraw(session: HubSession, name: str, refs: Refs, known: Mapping[int, Version], *, release: str | None) -> Refs:
    """Withdraw the deletion of the version that main describes; return the refs afterwards."""
    version = next((version for version in known.values() if version.name == release), None)
    if version is None or refs.branches.get(version.name) != version.commit or not refs.is_deleted(version.commit):
        return refs
    session.delete_tag(name, deletion_mark(version))
    return session.refs(name) or refs


def _known(repo: str, name: str, readme: str) -> dict[int, Version]:
    """Return the index on main by number; empty if it cannot be parsed.

    Raises:
        HubError: main has a card that Conceptry did not write.
    """
    if not readme:
        return {}
    data, _ = split_front_matter(readme)
    ours = data.get(KEY)
    if not isinstance(ours, Mapping):
        what = f"{repo} has a README.md on main that Conceptry did not write"
        raise HubError(what, concept=name, next_step="choose another name for the concept, or delete that file")
    try:
        versions = [Version.from_index(entry) for entry in ours.get("versions") or []]
    except (HubError, TypeError):
        return {}
    return {version.number: version for version in versions}


def _said_release(readme: str) -> str | None:
    data = split_front_matter(readme)[0].get(KEY)
    release = data.get("release") if isinstance(data, Mapping) else None
    return release if isinstance(release, str) else None


def _released(repo: str, name: str, versions: tuple[Version, ...], release: str | None) -> Version | None:
    version = next((version for version in versions if version.name == release), None)
    if version is None and release is not None:
        published = ", ".join(version.name for version in versions) or "none"
        what = f"{repo} has no version {release}; published: {published}"
        raise HubError(what, concept=name, next_step="release one of them")
    return version
