"""Detection and repair of branches and tags that were moved or deleted manually.

A version is a commit. As long as that commit exists on the Hub, its branch and its tag can be created again; only a
deleted commit requires a new training.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from huggingface_hub.errors import RevisionNotFoundError

from conceptry.reasons import DriftReason
from conceptry.version import Drift, Version
from tasks.hub.client import translate_errors
from tasks.hub.ownership import KEY
from tasks.hub.repo_versions import STAGING, manifest_of_tag, tag_name, versions_at
from tasks.hub.session import HubSession, Refs
from tasks.hub.staging import delete_stale_staging

_logger = logging.getLogger("conceptry.hub")
_FINGERPRINT_TAG = "fp-"
_REASONS = {
    ("branch", True): DriftReason.BRANCH_MOVED,
    ("branch", False): DriftReason.BRANCH_MISSING,
    ("tag", True): DriftReason.TAG_MOVED,
    ("tag", False): DriftReason.TAG_MISSING,
}


@dataclass(frozen=True)
class MovedRef:
    """Branch or tag that is not at the commit of its version; `found` is None if it was deleted.

    `name` is None for the branch of a version that is known by its tag only, so that its number is unknown.
    """

    kind: Literal["branch", "tag"]
    name: str | None
    expected: str
    found: str | None
    tag: str = ""

    def drift(self) -> Drift:
        """Return the drift, with reason code and words."""
        name = self.name or f"of {self.tag}"
        if self.found is None:
            words = f"the {self.kind} {name} was deleted"
        else:
            words = f"the {self.kind} {name} was moved from {self.expected[:8]} to {self.found[:8]}"
        return Drift(_REASONS[self.kind, self.found is not None], words)


def moved_refs(session: HubSession, name: str, refs: Refs, versions: Iterable[Version]) -> tuple[MovedRef, ...]:
    """Return the branches and tags of a repo that differ from the versions in its index, and branches known by tag.

    A tag fp-... at a commit without that fingerprint was made by hand, and is left alone.
    """
    versions = [version for version in versions if not refs.is_deleted(version.commit, version.number)]
    found = []
    for version in versions:
        found.append(MovedRef("branch", version.name, version.commit, refs.branches.get(version.name)))
        tag = tag_name(version.fingerprint)
        found.append(MovedRef("tag", tag, version.commit, refs.tags.get(tag)))
    known = {version.commit for version in versions} | set(refs.versions.values())
    orphans = (
        MovedRef("branch", None, commit, None, tag)
        for tag, commit in sorted(refs.tags.items())
        if tag.startswith(_FINGERPRINT_TAG) and commit not in known and not refs.is_deleted(commit)
    )
    lost = [ref for ref in orphans if manifest_of_tag(session, name, ref.tag, ref.expected)]
    return (*(ref for ref in found if ref.found != ref.expected), *lost)


def drift_of_refs(session: HubSession, name: str, refs: Refs, versions: Iterable[Version]) -> tuple[Drift, ...]:
    """Return the drift of a concept's branches and tags, and its deletions that were interrupted."""
    versions = tuple(versions)
    listed = {one.number for one in versions if refs.is_deleted(one.commit, one.number)}
    moved = (ref.drift() for ref in moved_refs(session, name, refs, versions))
    return (*moved, *(_unfinished(number) for number in sorted(listed | _leftovers(refs).keys())))


def find_moved_refs(session: HubSession, name: str, versions: Sequence[Version]) -> tuple[Drift, ...]:
    """Return the drift of a concept's branches and tags.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    with translate_errors(session.target, "reading its branches and tags", name=name):
        refs = session.refs(name)
        if refs is None:
            return (Drift(DriftReason.REPO_MISSING, "the model repo was deleted"),) if versions else ()
        return drift_of_refs(session, name, refs, versions)


def repair_refs(
    session: HubSession, name: str, versions: Sequence[Version]
) -> tuple[tuple[Drift, ...], tuple[Version, ...]]:
    """Reset branches and tags to the commits of their versions, as far as these exist; finish interrupted deletions.

    Stale staging branches are deleted. The commit that a moved branch points at is kept on a branch `rescued/...`. A
    version whose deletion has begun is left out, even if `versions` were listed before that.

    Args:
        session: Session with the Hub.
        name: Name of the concept.
        versions: Versions in the index on main.

    Returns:
        The repaired drift, and the versions afterwards.

    Raises:
        HubError, TransientError: the Hub refused a request, or could not be reached.
    """
    with translate_errors(session.target, "repairing its branches and tags", name=name):
        refs = session.refs(name)
        if refs is not None and drift_of_refs(session, name, refs, versions):
            # What the session remembers may be older than a deletion.
            session.forget(name)
            refs = session.refs(name)
        if refs is None:
            return (), ()
        delete_stale_staging(session, name)
        finished = finish_deletions(session, name)
        moved = moved_refs(session, name, session.refs(name) or refs, versions)
        repaired = tuple(ref.drift() for ref in moved if _repair(session, name, ref))
        now = session.refs(name) or refs
        return (*finished, *repaired), versions_at(session, name, now, {one.number: one for one in versions})


def restore_branches(session: HubSession, name: str, refs: Refs, listed: Iterable[Version]) -> Refs:
    """Create the branches that listed versions lack, whose commits exist; return the refs afterwards.

    Raises:
        HfHubHTTPError: the Hub refused, or could not be reached.
    """
    lost = [one for one in listed if one.name not in refs.branches and not refs.is_deleted(one.commit, one.number)]
    restored = [one.name for one in lost if _repair(session, name, MovedRef("branch", one.name, one.commit, None))]
    if not restored:
        return refs
    _logger.warning("%s: put back before its index is written: %s", name, ", ".join(restored))
    return session.refs(name) or refs


def finish_deletions(session: HubSession, name: str) -> tuple[Drift, ...]:
    """Delete the branches and tags that interrupted deletions left; return what was done.

    The version that main describes was released while its deletion began: it keeps its branch and loses its mark.

    Raises:
        HfHubHTTPError: the Hub refused, or could not be reached.
    """
    refs = session.refs(name)
    left = _leftovers(refs) if refs else {}
    if not refs or not left:
        return ()
    model = session.model(name)
    data = model.card_data.get(KEY) if model and model.card_data else None
    release = data.get("release") if isinstance(data, dict) else None
    done = []
    for number, names in left.items():
        if release == f"v{number}" and release in names:
            session.delete_tag(name, f"deleted-v{number}-{refs.deleted[number]}")
            continue
        for ref in names:
            if ref.startswith(_FINGERPRINT_TAG):
                session.delete_tag(name, ref)
            else:
                session.delete_branch(name, ref)
        done.append(_unfinished(number))
    return tuple(done)


def _leftovers(refs: Refs) -> dict[int, list[str]]:
    """Return the branches and tags at the commits of deleted versions, by number."""
    alive = set(refs.versions.values())
    found: dict[int, list[str]] = {}
    for number, start in refs.deleted.items():
        own = [f"v{number}", *(branch for branch in refs.branches if branch.startswith(STAGING))]
        names = [branch for branch in own if refs.branches.get(branch, "").startswith(start)]
        names += [tag for tag, commit in refs.tags.items() if tag.startswith(_FINGERPRINT_TAG) and commit[:12] == start]
        names = [ref for ref in names if ref == f"v{number}" or (refs.branches | refs.tags)[ref] not in alive]
        if names:
            found[number] = names
    return found


def _unfinished(number: int) -> Drift:
    return Drift(DriftReason.DELETION_UNFINISHED, f"the deletion of v{number} was interrupted")


def _repair(session: HubSession, name: str, ref: MovedRef) -> bool:
    """Repair one ref; return False if its commit no longer exists."""
    if not _exists(session, name, ref.expected):
        return False
    if ref.kind == "tag":
        if ref.found is not None:
            session.delete_tag(name, str(ref.name))
        session.create_tag(name, str(ref.name), ref.expected)
        return True
    refs = session.refs(name) or Refs({})
    branch = ref.name or f"v{refs.next_number}"
    if ref.found is not None:
        if not any(commit == ref.found for other, commit in refs.branches.items() if other != branch):
            session.create_branch(name, f"rescued/{branch}-{ref.found[:8]}", ref.found, exist_ok=True)
        session.delete_branch(name, branch)
    session.create_branch(name, branch, ref.expected, exist_ok=True)
    return True


def _exists(session: HubSession, name: str, commit: str) -> bool:
    try:
        session.api.repo_info(session.target.repo(name), revision=commit)
    except RevisionNotFoundError:
        return False
    return True
