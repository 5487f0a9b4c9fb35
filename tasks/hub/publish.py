"""Publishing a version: all or nothing, and once, whoever else is at it and wherever it is interrupted.

    1. look      list the refs; a tag fp-... means that this fingerprint is published
    2. stage     branch staging/FINGERPRINT off main, ONE commit with the whole version, its parent compared
    3. look      again: who staged after somebody else had cleaned up sees the tag now
    4. number    create vN at the staged commit; 409 means that N is taken: look again
    5. tag       fp-<first 16 of the fingerprint>
    6. clean     delete the staging branch

Why a crash leaves nothing behind: up to 2 nobody can see anything; from 2 on the staged commit is whole and is found by
a retry, which goes on at 4, where a vN at that very commit means that 4 was done. Why two publishers of one fingerprint
make one vN: they share the staging branch, whose commit only one of them wins (412 for the other), and it is deleted
only after the tag exists, which the one who stages anew sees in 3.
"""

from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from conceptry.errors import HubError, PublishConflictError
from conceptry.version import Manifest, Version
from tasks.hub.client import translate_errors
from tasks.hub.refs import staging_name, tag_name, version_of
from tasks.hub.session import GITATTRIBUTES, MANIFEST, HubSession, Refs

LOOKS = 12
"""How often to look again when others publish at the same time; each time one of them has made progress."""


class _LookAgainError(Exception):
    """Another publisher moved a ref between our look and our write."""


def publish(session: HubSession, name: str, bundle: Path, *, private: bool = False) -> Version:
    """Publish a bundle as the next version of a concept, or adopt the version that its fingerprint has already.

    Args:
        session: The Hub and the owner.
        name: The concept; its model repo is made if it is not there.
        bundle: A folder made by `assemble`, with its concept.json.
        private: Whether a new repo is visible to its owner only.

    Returns:
        The version; `commit` is the revision that vN points at. Its data are those of the version on the Hub.

    Raises:
        PublishConflictError: others were faster too many times in a row; it may be tried again.
        HubError: the Hub refused, or holds something under this fingerprint's tag that is not its version.
        TransientError: the network or the Hub failed; a retry goes on where this stopped.
    """
    manifest = Manifest.model_validate_json((bundle / MANIFEST).read_bytes())
    with translate_errors(session.target, "publishing a version", name=name):
        for _ in range(LOOKS):
            try:
                return _publish(session, name, bundle, manifest.fingerprint, private=private)
            except _LookAgainError:
                session.forget(name)
    what = f"{session.target.repo(name)} was changed by others {LOOKS} times while a version was being published"
    raise PublishConflictError(what, concept=name, next_step="it is tried again")


def _publish(session: HubSession, name: str, bundle: Path, fingerprint: str, *, private: bool) -> Version:
    refs = session.refs(name)
    if refs is None:
        session.create_repo(name, private=private)
        refs = _refs(session, name)
    tag, staging = tag_name(fingerprint), staging_name(fingerprint)
    commit = refs.tags.get(tag)
    if commit is None:
        commit = _stage(session, name, bundle, fingerprint, refs)
        # Who staged after another publisher had cleaned up sees the tag now.
        session.forget(name)
        refs = _refs(session, name)
        commit = refs.tags.get(tag, commit)
    manifest = _manifest_of(session, name, commit, fingerprint)
    number = refs.number_at(commit)
    if number is None:
        number = refs.next_number
        _create_branch(session, name, f"v{number}", commit)
    if tag not in refs.tags:
        session.create_tag(name, tag, commit)
    if staging in refs.branches:
        session.delete_branch(name, staging)
    return version_of(manifest, number, commit)


def _refs(session: HubSession, name: str) -> Refs:
    refs = session.refs(name)
    if refs is None:
        raise HubError(f"{session.target.repo(name)} is gone", next_step="it is made again by the next try")
    return refs


def _stage(session: HubSession, name: str, bundle: Path, fingerprint: str, refs: Refs) -> str:
    """Put the whole version on the staging branch, unless it is there already; returns its commit."""
    staging = staging_name(fingerprint)
    head = refs.branches.get(staging)
    if head is not None:
        staged = session.manifest(name, head)
        if staged is not None and staged.fingerprint == fingerprint:
            return head
    else:
        head = refs.branches.get("main")
        if head is None:
            raise HubError(
                f"{session.target.repo(name)} has no branch main", next_step="delete the repo, or give it one"
            )
        _create_branch(session, name, staging, head)
    try:
        files = {path.relative_to(bundle).as_posix(): path for path in sorted(bundle.rglob("*")) if path.is_file()}
        stale = session.files(name, head) - set(files) - {GITATTRIBUTES}
        return session.commit(
            name,
            f"Version of {fingerprint[:16]}",
            [
                *(CommitOperationAdd(path_in_repo=path, path_or_fileobj=file) for path, file in files.items()),
                *(CommitOperationDelete(path_in_repo=path) for path in sorted(stale)),
            ],
            branch=staging,
            parent=head,
        )
    except RevisionNotFoundError as error:
        raise _LookAgainError from error
    except HfHubHTTPError as error:
        if error.response.status_code in (409, 412):
            raise _LookAgainError from error
        raise


def _manifest_of(session: HubSession, name: str, commit: str, fingerprint: str) -> Manifest:
    """Read the manifest at the commit: of an earlier attempt, perhaps, and that one counts."""
    manifest = session.manifest(name, commit)
    if manifest is None or manifest.fingerprint != fingerprint:
        tag, repo = tag_name(fingerprint), session.target.repo(name)
        what = f"{tag} of {repo} is at {commit[:10]}, which does not hold the version {fingerprint}"
        raise HubError(what, next_step="delete that tag, or move it back")
    return manifest


def _create_branch(session: HubSession, name: str, branch: str, commit: str) -> None:
    try:
        session.create_branch(name, branch, commit)
    except RevisionNotFoundError as error:
        raise _LookAgainError from error
    except HfHubHTTPError as error:
        if error.response.status_code == 409:
            raise _LookAgainError from error
        raise


def download(session: HubSession, name: str, version: str, folder: Path) -> Path:
    """Download a whole version (vN, or a commit) into a folder; what is there already is not fetched again.

    Raises:
        HubError: there is no such version.
        TransientError: the network or the Hub failed.
    """
    repo = session.target.repo(name)
    with translate_errors(session.target, f"downloading {repo} {version}", name=name):
        try:
            session.api.snapshot_download(repo, revision=version, local_dir=folder)
        except RevisionNotFoundError as error:
            refs = session.refs(name)
            published = ", ".join(f"v{number}" for number in refs.versions) if refs else ""
            what = f"{repo} has no version {version}; published: {published or 'none'}"
            raise HubError(what, concept=name, next_step="choose one of them") from error
    return folder
