"""What somebody changed by hand: branches and tags that moved or vanished, and how they are put back.

A version is a commit. As long as the Hub has it, a branch or a tag that names it can be made again; only a commit that
is gone for good needs a new training.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile

from conceptry.version import Version
from tasks.hub.client import HubTarget, telling
from tasks.hub.file_record import README, RECORD, FileHashes, load_record, without_record
from tasks.hub.publish import KEPT
from tasks.hub.refs import Refs, read_file, read_manifest, read_refs, tag_name

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


def edited_files(target: HubTarget, name: str, sha: str, recorded: str) -> tuple[str, ...]:
    """List the files of a concept's Space that are not those that were pushed: changed, missing, or too many.

    Args:
        target: The Hub and the owner.
        name: The concept.
        sha: The commit to look at.
        recorded: sha256 of the record that the push left, from the Space's stamp.

    Raises:
        HubError, TransientError: the Hub could not be asked.
    """
    api, repo = target.api(), target.repo(name)
    with telling(target, "looking at its Space", name=name):
        there = _space_tree(api, repo, sha)
        record = load_record(read_file(api, repo, RECORD, sha, repo_type="space"), recorded)
        readme = read_file(api, repo, README, sha, repo_type="space")
    if record is None:
        return (RECORD,)
    wanted = record.files
    edited = {
        path
        for path in (there.keys() | wanted.keys()) - {README, RECORD}
        if path not in there or path not in wanted or not wanted[path].match(there[path])
    }
    # The README was recorded without the record's own hash.
    if wanted.get(README) != FileHashes.of(without_record((readme or b"").decode("utf-8", "replace"))):
        edited.add(README)
    return tuple(sorted(edited))


def differing_files(target: HubTarget, name: str, sha: str, wanted: Mapping[str, bytes | Path]) -> tuple[str, ...]:
    """List those of the wanted files that a concept's Space has not, or not as they are wanted.

    Args:
        target: The Hub and the owner.
        name: The concept.
        sha: The commit to look at.
        wanted: Files by their path; others that the Space has are not looked at.

    Raises:
        HubError, TransientError: the Hub could not be asked.
    """
    api, repo = target.api(), target.repo(name)
    with telling(target, "looking at its Space", name=name):
        there = _space_tree(api, repo, sha)
    contents = ((path, file if isinstance(file, bytes) else file.read_bytes()) for path, file in sorted(wanted.items()))
    return tuple(
        path for path, content in contents if path not in there or not FileHashes.of(content).match(there[path])
    )


def _space_tree(api: HfApi, repo: str, sha: str) -> dict[str, RepoFile]:
    tree = api.list_repo_tree(repo, recursive=True, revision=sha, repo_type="space")
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile) and entry.path != KEPT}


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
