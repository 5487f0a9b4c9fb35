"""Publishing of a version: atomic, and exactly once under concurrency, crashes and retries.

    1. read      list the refs; a tag fp-... means that this fingerprint is published, unless a person made it
    2. stage     branch staging/FINGERPRINT off main, ONE commit with the whole version, its parent compared
    3. read      the refs again: a process that staged after another one's clean-up finds the tag now
    4. number    create vN at the staged commit; 409 means that N is taken: read again
    5. tag       fp-<first 16 of the fingerprint>
    6. clean     delete the staging branch; `clean_up` does it where the publisher was killed before

Crash safety: before step 2 nothing is visible; after it the staged commit is complete, and a retry finds it and resumes
at step 4, where a vN at that very commit means that step 4 was done. Exactly one vN for two publishers of one
fingerprint: they share the staging branch, on which only one commit succeeds (412 for the other), and the branch is
deleted only after the tag exists, which a publisher that stages again finds in step 3.
"""

from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from conceptry.errors import HubError, PublishConflictError
from conceptry.version import Manifest, Version
from tasks.hub.client import translate_errors
from tasks.hub.main_card import listed_versions, read_card
from tasks.hub.ownership import GITATTRIBUTES
from tasks.hub.repo_versions import is_deleted, published_commit, staging_name, tag_name, version_of
from tasks.hub.session import MANIFEST, HubSession, Refs

LOOKS = 12
"""Maximum of attempts under concurrent publishing; each failed attempt means that another process made progress."""


class _RefMovedError(Exception):
    """Another process moved a ref between the read and the write."""


def publish(session: HubSession, name: str, bundle: Path, *, private: bool = False) -> Version:
    """Publish a bundle as the next version of a concept, or return the version that already has its fingerprint.

    Args:
        session: Session with the Hub.
        name: Name of the concept; its model repo is created if it does not exist.
        bundle: Folder made by `assemble`, with its concept.json.
        private: Whether a new repo is visible to its owner only.

    Returns:
        The version as it is on the Hub; its `commit` is the revision that vN points at.

    Raises:
        PublishConflictError: other processes wrote first in every attempt; a retry may succeed.
        HubError: the Hub refused, or the tag's commit holds a version with another fingerprint of the same start.
        TransientError: the network or the Hub failed; a retry resumes.
    """
    manifest = Manifest.model_validate_json((bundle / MANIFEST).read_bytes())
    with translate_errors(session.target, "publishing a version", name=name):
        for _ in range(LOOKS):
            try:
                return _publish(session, name, bundle, manifest.fingerprint, private=private)
            except _RefMovedError:
                session.forget(name)
    what = f"{session.target.repo(name)} was changed by other processes in each of {LOOKS} attempts to publish"
    raise PublishConflictError(what, concept=name, next_step="try again; flows do so by themselves")


def _publish(session: HubSession, name: str, bundle: Path, fingerprint: str, *, private: bool) -> Version:
    refs = session.refs(name)
    if refs is None:
        session.create_repo(name, private=private)
        refs = _refs(session, name)
    tag, staging = tag_name(fingerprint), staging_name(fingerprint)
    commit = published_commit(session, name, refs, fingerprint)
    if commit is None:
        staged = _stage(session, name, bundle, fingerprint, refs=refs)
        # If another process cleaned up before this one staged, the tag exists now.
        session.forget(name)
        refs = _refs(session, name)
        commit = published_commit(session, name, refs, fingerprint) or staged
    manifest = _manifest_of(session, name, commit, fingerprint)
    number = refs.number_at(commit)
    if number is None:
        number = _listed_number(session, name, refs, commit) or refs.next_number
        _create_branch(session, name, f"v{number}", commit)
    if refs.tags.get(tag) != commit:
        if tag in refs.tags:
            session.delete_tag(name, tag)
        session.create_tag(name, tag, commit)
    if staging in refs.branches:
        session.delete_branch(name, staging)
    return version_of(manifest, number, commit)


def _listed_number(session: HubSession, name: str, refs: Refs, commit: str) -> int | None:
    """Return the number that the index gives a tagged commit whose branch was deleted manually, if it is free."""
    if commit not in refs.tags.values():
        return None
    main = refs.branches["main"]
    listed = listed_versions(session, name, read_card(session, name, main).data, main, in_full=False) or ()
    same = (version for version in listed if version.commit == commit)
    return next((version.number for version in same if version.name not in refs.branches), None)


def clean_up(session: HubSession, name: str, version: Version) -> None:
    """Delete the staging branch of a published version, which a publisher leaves that is killed before step 6.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    staging = staging_name(version.fingerprint)
    with translate_errors(session.target, f"deleting {staging}", name=name):
        refs = session.refs(name)
        if refs is not None and staging in refs.branches:
            session.delete_branch(name, staging)


def _refs(session: HubSession, name: str) -> Refs:
    refs = session.refs(name)
    if refs is None:
        raise HubError(f"{session.target.repo(name)} was deleted", next_step="nothing to do: a retry creates it again")
    return refs


def _stage(session: HubSession, name: str, bundle: Path, fingerprint: str, *, refs: Refs) -> str:
    """Commit the version to the staging branch unless it is there already; return the commit."""
    staging = staging_name(fingerprint)
    head = refs.branches.get(staging)
    if head is not None:
        if is_deleted(refs, head):
            session.delete_branch(name, staging)
            raise _RefMovedError
        staged = session.manifest(name, head)
        if staged is not None and staged.fingerprint == fingerprint:
            return head
    else:
        head = refs.branches.get("main")
        if head is None:
            raise HubError(
                f"{session.target.repo(name)} has no branch main",
                next_step="delete the repo, or create its branch main",
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
        raise _RefMovedError from error
    except HfHubHTTPError as error:
        if error.response.status_code in (409, 412):
            raise _RefMovedError from error
        raise


def _manifest_of(session: HubSession, name: str, commit: str, fingerprint: str) -> Manifest:
    """Return the manifest at a commit, which may be that of an earlier attempt."""
    manifest = session.manifest(name, commit)
    if manifest is None or manifest.fingerprint != fingerprint:
        repo = session.target.repo(name)
        what = f"{repo} at {commit[:10]} does not hold the version {fingerprint}"
        raise HubError(what, next_step=f"delete the tag {tag_name(fingerprint)} and the branch of that commit")
    return manifest


def _create_branch(session: HubSession, name: str, branch: str, commit: str) -> None:
    try:
        session.create_branch(name, branch, commit)
    except RevisionNotFoundError as error:
        raise _RefMovedError from error
    except HfHubHTTPError as error:
        if error.response.status_code == 409:
            raise _RefMovedError from error
        raise


def download(session: HubSession, name: str, version: str, folder: Path) -> Path:
    """Download a complete version (vN, or a commit) to a folder; files that exist there are not fetched again.

    Raises:
        HubError: the version does not exist.
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
