"""Detection and repair of branches and tags that were moved or deleted manually.

A version is a commit. As long as that commit exists on the Hub, its branch and its tag can be created again; only a
deleted commit requires a new training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from huggingface_hub.errors import RevisionNotFoundError

from conceptry.reasons import DriftReason
from conceptry.version import Drift, Version
from tasks.hub.client import translate_errors
from tasks.hub.repo_versions import tag_name, versions_at
from tasks.hub.session import HubSession, Refs

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


def moved_refs(refs: Refs, versions: Iterable[Version]) -> tuple[MovedRef, ...]:
    """Return the branches and tags of a repo that differ from the versions in its index."""
    found = []
    for version in versions:
        found.append(MovedRef("branch", version.name, version.commit, refs.branches.get(version.name)))
        tag = tag_name(version.fingerprint)
        found.append(MovedRef("tag", tag, version.commit, refs.tags.get(tag)))
    known = {version.commit for version in versions} | set(refs.branches.values())
    orphans = (tag for tag, commit in refs.tags.items() if tag.startswith(_FINGERPRINT_TAG) and commit not in known)
    lost = (MovedRef("branch", None, refs.tags[tag], None, tag) for tag in sorted(orphans))
    return (*(ref for ref in found if ref.found != ref.expected), *lost)


def find_moved_refs(session: HubSession, name: str, versions: Sequence[Version]) -> tuple[Drift, ...]:
    """Return the drift of a concept's branches and tags.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    with translate_errors(session.target, "reading its branches and tags", name=name):
        refs = session.refs(name)
    if refs is None:
        return (Drift(DriftReason.REPO_MISSING, "the model repo was deleted"),) if versions else ()
    return tuple(ref.drift() for ref in moved_refs(refs, versions))


def repair_refs(
    session: HubSession, name: str, versions: Sequence[Version]
) -> tuple[tuple[Drift, ...], tuple[Version, ...]]:
    """Reset branches and tags to the commits of their versions, as far as these commits exist.

    The commit that a moved branch points at is kept on a branch `rescued/...`.

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
        if refs is None:
            return (), ()
        repaired = tuple(ref.drift() for ref in moved_refs(refs, versions) if _repair(session, name, ref))
        now = session.refs(name)
        return repaired, versions_at(session, name, now, {one.number: one for one in versions}) if now else ()


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
    branch = ref.name
    if branch is None:
        if session.manifest(name, ref.expected) is None:
            return False
        branch = f"v{refs.next_number}"
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
