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

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from conceptry.errors import HubError, PublishConflictError
from conceptry.version import Manifest, Version
from tasks.hub.client import HubTarget, telling
from tasks.hub.refs import MANIFEST, Refs, read_manifest, read_refs, staging_name, tag_name, version_of

LOOKS = 12
"""How often to look again when others publish at the same time; each time one of them has got on."""
KEPT = ".gitattributes"


class _LookAgainError(Exception):
    """Somebody moved a ref between our look and our write."""


def publish(target: HubTarget, name: str, bundle: Path, *, private: bool = False) -> Version:
    """Publish a bundle as the next version of a concept, or adopt the version that its fingerprint has already.

    Args:
        target: The Hub and the owner.
        name: The concept; its model repo is made if it is not there.
        bundle: A folder made by `assemble`, with its concept.json.
        private: Whether a new repo is visible to its owner only.

    Returns:
        The version; `commit` is the revision that vN points at. Its data are those of the version on the Hub.

    Raises:
        PublishConflictError: others were faster too many times in a row; it may be tried again.
        HubError: the Hub refused, or holds something under this fingerprint's tag that is not its version.
        TransientError: network or server trouble; a retry goes on where this stopped.
    """
    manifest = Manifest.model_validate_json((bundle / MANIFEST).read_bytes())
    api, repo = target.api(), target.repo(name)
    with telling(target, "publishing a version", name=name):
        api.create_repo(repo, private=private, exist_ok=True)
        for _ in range(LOOKS):
            try:
                return _publish(api, repo, bundle, manifest.fingerprint)
            except _LookAgainError:
                continue
    what = f"{repo} was changed by others {LOOKS} times while a version was being published"
    raise PublishConflictError(what, concept=name, next_step="it is tried again")


def _publish(api: HfApi, repo: str, bundle: Path, fingerprint: str) -> Version:
    refs = read_refs(api, repo)
    commit = refs.tags.get(tag_name(fingerprint))
    if commit is None:
        commit = _stage(api, repo, bundle, fingerprint, refs)
        refs = read_refs(api, repo)
        commit = refs.tags.get(tag_name(fingerprint), commit)
    manifest = _manifest_of(api, repo, commit, fingerprint)
    number = refs.number_at(commit)
    if number is None:
        number = refs.next_number
        _create_branch(api, repo, f"v{number}", commit)
    if tag_name(fingerprint) not in refs.tags:
        api.create_tag(repo, tag=tag_name(fingerprint), revision=commit, exist_ok=True)
    if staging_name(fingerprint) in refs.branches:
        _delete_branch(api, repo, staging_name(fingerprint))
    return version_of(manifest, number, commit)


def _stage(api: HfApi, repo: str, bundle: Path, fingerprint: str, refs: Refs) -> str:
    """Put the whole version on the staging branch, unless it lies there already; gives its commit."""
    staging = staging_name(fingerprint)
    head = refs.branches.get(staging)
    if head is not None:
        staged = read_manifest(api, repo, head)
        if staged is not None and staged.fingerprint == fingerprint:
            return head
    else:
        head = refs.branches.get("main")
        if head is None:
            raise HubError(f"{repo} has no branch main", next_step="delete the repo, or give it one")
        _create_branch(api, repo, staging, head)
    try:
        files = {path.relative_to(bundle).as_posix(): path for path in sorted(bundle.rglob("*")) if path.is_file()}
        stale = set(api.list_repo_files(repo, revision=head)) - set(files) - {KEPT}
        info = api.create_commit(
            repo,
            [
                *(CommitOperationAdd(path_in_repo=path, path_or_fileobj=file) for path, file in files.items()),
                *(CommitOperationDelete(path_in_repo=path) for path in sorted(stale)),
            ],
            commit_message=f"Version of {fingerprint[:16]}",
            revision=staging,
            parent_commit=head,
        )
    except RevisionNotFoundError as error:
        raise _LookAgainError from error
    except HfHubHTTPError as error:
        if error.response.status_code in (409, 412):
            raise _LookAgainError from error
        raise
    return info.oid


def _manifest_of(api: HfApi, repo: str, commit: str, fingerprint: str) -> Manifest:
    """The manifest that lies at the commit: of an earlier attempt, perhaps, and that one counts."""
    manifest = read_manifest(api, repo, commit)
    if manifest is None or manifest.fingerprint != fingerprint:
        what = f"{tag_name(fingerprint)} of {repo} is at {commit[:10]}, which does not hold the version {fingerprint}"
        raise HubError(what, next_step="delete that tag, or move it back")
    return manifest


def _create_branch(api: HfApi, repo: str, branch: str, commit: str) -> None:
    try:
        api.create_branch(repo, branch=branch, revision=commit)
    except RevisionNotFoundError as error:
        raise _LookAgainError from error
    except HfHubHTTPError as error:
        if error.response.status_code == 409:
            raise _LookAgainError from error
        raise


def _delete_branch(api: HfApi, repo: str, branch: str) -> None:
    try:
        api.delete_branch(repo, branch=branch)
    except HfHubHTTPError as error:
        if error.response.status_code != 404:
            raise


def download(target: HubTarget, name: str, version: str, folder: Path) -> Path:
    """Download a whole version (vN, or a commit) into a folder; what lies there already is not fetched again.

    Raises:
        HubError: there is no such version.
        TransientError: network or server trouble.
    """
    api, repo = target.api(), target.repo(name)
    with telling(target, f"downloading {repo} {version}", name=name):
        try:
            api.snapshot_download(repo, revision=version, local_dir=folder)
        except RevisionNotFoundError as error:
            there = ", ".join(f"v{number}" for number in read_refs(api, repo).versions) or "none"
            what = f"{repo} has no version {version}; there are: {there}"
            raise HubError(what, concept=name, next_step="choose one of them") from error
    return folder
