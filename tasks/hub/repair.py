"""What somebody changed by hand: branches and tags that moved or vanished, and how they are put back.

A version is a commit. As long as the Hub has it, a branch or a tag that names it can be made again; only a commit that
is gone for good needs a new training.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile

from conceptry.version import Version
from tasks.hub.client import HubTarget, telling
from tasks.hub.publish import KEPT
from tasks.hub.refs import Refs, read_manifest, read_refs, tag_name

_MARK = "fp-"


@dataclass(frozen=True)
class MovedRef:
    """A branch or tag that is not at the commit of its version; `found` is None when it is gone."""

    kind: Literal["branch", "tag"]
    name: str
    wanted: str
    found: str | None

    def __str__(self) -> str:
        if self.found is None:
            return f"the {self.kind} {self.name} is gone"
        return f"the {self.kind} {self.name} was moved from {self.wanted[:8]} to {self.found[:8]}"


def moved_refs(refs: Refs, versions: Iterable[Version]) -> tuple[MovedRef, ...]:
    """Compare a repo's branches and tags with the versions that its index knows."""
    found = []
    for version in versions:
        found.append(MovedRef("branch", version.name, version.commit, refs.branches.get(version.name)))
        tag = tag_name(version.fingerprint)
        found.append(MovedRef("tag", tag, version.commit, refs.tags.get(tag)))
    known = {version.commit for version in versions} | set(refs.branches.values())
    orphans = (tag for tag, commit in refs.tags.items() if tag.startswith(_MARK) and commit not in known)
    lost = (MovedRef("branch", f"of {tag}", refs.tags[tag], None) for tag in sorted(orphans))
    return (*(ref for ref in found if ref.found != ref.wanted), *lost)


def find_moved(target: HubTarget, name: str, versions: Sequence[Version]) -> tuple[str, ...]:
    """Say in words which branches and tags of a concept are not where they belong.

    Raises:
        HubError, TransientError: the Hub could not be asked.
    """
    api, repo = target.api(), target.repo(name)
    with telling(target, "looking at its branches and tags", name=name):
        try:
            refs = read_refs(api, repo)
        except RepositoryNotFoundError:
            return ("the model repo is gone",) if versions else ()
    return tuple(str(ref) for ref in moved_refs(refs, versions))


def mend_refs(target: HubTarget, name: str, versions: Sequence[Version]) -> tuple[str, ...]:
    """Put branches and tags back to the commits of their versions, as far as the Hub still has those.

    What a moved branch points at is kept on a branch `rescued/...`: somebody may want it.

    Args:
        target: The Hub and the owner.
        name: The concept.
        versions: What the index on main knows.

    Returns:
        What was put right, in words.

    Raises:
        HubError, TransientError: the Hub refused, or could not be asked.
    """
    api, repo = target.api(), target.repo(name)
    with telling(target, "putting its branches and tags right", name=name):
        try:
            refs = read_refs(api, repo)
        except RepositoryNotFoundError:
            return ()
        return tuple(str(ref) for ref in moved_refs(refs, versions) if _mend(api, repo, refs, ref))


def _mend(api: HfApi, repo: str, refs: Refs, ref: MovedRef) -> bool:
    """Put one right; False when its commit is gone."""
    if not _exists(api, repo, ref.wanted):
        return False
    if ref.kind == "tag":
        if ref.found is not None:
            api.delete_tag(repo, tag=ref.name)
        api.create_tag(repo, tag=ref.name, revision=ref.wanted, exist_ok=True)
        return True
    branch = ref.name
    if branch.startswith("of "):
        if read_manifest(api, repo, ref.wanted) is None:
            return False
        branch = f"v{refs.next_number}"
    if ref.found is not None:
        if not any(commit == ref.found for name, commit in refs.branches.items() if name != branch):
            api.create_branch(repo, branch=f"rescued/{branch}-{ref.found[:8]}", revision=ref.found, exist_ok=True)
        api.delete_branch(repo, branch=branch)
    api.create_branch(repo, branch=branch, revision=ref.wanted, exist_ok=True)
    return True


def _exists(api: HfApi, repo: str, commit: str) -> bool:
    try:
        api.repo_info(repo, revision=commit)
    except RevisionNotFoundError:
        return False
    return True


def differing_files(target: HubTarget, name: str, sha: str, wanted: Mapping[str, bytes | Path]) -> tuple[str, ...]:
    """List the files of a concept's Space that are not what they should be, missing or too many.

    Args:
        target: The Hub and the owner.
        name: The concept.
        sha: The commit to look at.
        wanted: All files as `space_files` gives them.

    Raises:
        HubError, TransientError: the Hub could not be asked.
    """
    api, repo = target.api(), target.repo(name)
    with telling(target, "looking at its Space", name=name):
        tree = api.list_repo_tree(repo, recursive=True, revision=sha, repo_type="space")
        there = {entry.path: entry for entry in tree if isinstance(entry, RepoFile) and entry.path != KEPT}
    return tuple(
        path
        for path in sorted(there.keys() | wanted.keys())
        if path not in there or path not in wanted or not _same(there[path], wanted[path])
    )


def _same(entry: RepoFile, wanted: bytes | Path) -> bool:
    data = wanted if isinstance(wanted, bytes) else wanted.read_bytes()
    if entry.lfs is not None:
        return entry.lfs.sha256 == hashlib.sha256(data).hexdigest()
    # What git calls the bytes of a file: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    return entry.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def delete_version(target: HubTarget, name: str, version: Version) -> None:
    """Remove a version's branch and tag. It must have left the index before, or it would be put back.

    Raises:
        HubError, TransientError: the Hub refused, or could not be asked.
    """
    api, repo = target.api(), target.repo(name)
    with telling(target, f"deleting {version.name}", name=name):
        _if_there(lambda: api.delete_branch(repo, branch=version.name))
        _if_there(lambda: api.delete_tag(repo, tag=tag_name(version.fingerprint)))


def _if_there(delete: Callable[[], None]) -> None:
    try:
        delete()
    except HfHubHTTPError as error:
        if error.response.status_code != 404:
            raise


def delete_concept(target: HubTarget, name: str) -> None:
    """Delete a concept's model repo and Space, with all versions, for good.

    Raises:
        HubError: the Hub refused, or the repo is not one of ours.
        TransientError: the Hub could not be asked.
    """
    api, repo = target.api(), target.repo(name)
    with telling(target, "deleting its repos", name=name):
        api.delete_repo(repo, repo_type="space", missing_ok=True)
        api.delete_repo(repo, missing_ok=True)
