"""The card on main: describes the released version and carries the index of all versions."""

from collections.abc import Collection, Mapping

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError

from conceptry.errors import HubError, PublishConflictError
from conceptry.markdown import split_front_matter
from conceptry.version import Version
from tasks.hub.card import BEFORE, EMBEDS, GRID, render_card, render_unreleased
from tasks.hub.client import translate_errors
from tasks.hub.listing import KEY
from tasks.hub.refs import read_manifest, versions_at
from tasks.hub.session import HubSession

README = "README.md"
SHOWN = (GRID, BEFORE, EMBEDS)
"""Files of the released version that main has too: the card's pictures, and what `load_textual_inversion` looks for."""
LOOKS = 8


def update_main(
    session: HubSession, name: str, release: str | None, *, without: Collection[int] = ()
) -> tuple[Version, ...]:
    """Bring main in line with the branches: the index of what is there, the card and files of the released version.

    What main said before is not trusted: versions come from the branches, and only those that main does not list yet
    are read. Nothing is committed when nothing changed.

    Args:
        session: The Hub and the owner.
        name: The concept.
        release: The released version's name, vN; None when nothing is released.
        without: Numbers of versions to leave out, because they are about to be deleted.

    Returns:
        Every version, by number.

    Raises:
        HubError: there is no such version, or the repo's card is not ours.
        PublishConflictError, TransientError: it may be tried again.
    """
    with translate_errors(session.target, "updating its card", name=name):
        for _ in range(LOOKS):
            versions = _update(session, name, release, without)
            if versions is not None:
                return versions
            session.forget(name)
    what = f"main of {session.target.repo(name)} was changed by others {LOOKS} times while its card was being updated"
    raise PublishConflictError(what, concept=name, next_step="it is tried again")


def _update(
    session: HubSession, name: str, release: str | None, without: Collection[int]
) -> tuple[Version, ...] | None:
    """Try once; None when another process has changed main meanwhile."""
    repo, refs = session.target.repo(name), session.refs(name)
    if refs is None:
        raise HubError(f"{repo} is gone", concept=name, next_step="the next plan trains its versions again")
    head = refs.branches["main"]
    files = session.files(name, head)
    old = (session.read(name, README, head) or b"").decode("utf-8", "replace") if README in files else ""
    versions = versions_at(session, name, refs, _known(repo, name, old))
    versions = tuple(version for version in versions if version.number not in without)
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


def _known(repo: str, name: str, readme: str) -> dict[int, Version]:
    """The index on main by number; empty where it cannot be read.

    Raises:
        HubError: there is a card, and it is not one of ours.
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
        there = ", ".join(version.name for version in versions) or "none"
        what = f"{repo} has no version {release}; published: {there}"
        raise HubError(what, concept=name, next_step="release one of them")
    return version
