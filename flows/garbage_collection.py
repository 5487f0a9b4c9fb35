"""Tidying up: versions that nobody needs any longer, and concepts that are no longer in git.

The versions leave the index on main first, then their branches and tags go: the other way round, a watcher would take
it for damage and put them back.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from conceptry.concept import ConceptSpec, Desired, parse_sources
from conceptry.errors import ConceptryError
from conceptry.plan import choose_release
from conceptry.policy import Keep
from conceptry.retention import Asked, reasons_to_keep
from conceptry.settings import Settings
from conceptry.version import Actual, ActualConcept, Version
from flows import state
from flows.runs import hold, run_id
from tasks import git, hub


@dataclass(frozen=True)
class Verdict:
    """What becomes of a version: kept for a reason, or None, deleted."""

    concept: str
    version: Version
    kept: str | None


def judge(settings: Settings, names: Collection[str] = (), keep: Keep | None = None) -> list[Verdict]:
    """Say of every version whether it is kept, by name and number; nothing is changed.

    Args:
        settings: of this installation.
        names: concepts to look at; all when there are none.
        keep: how much to keep; None for what conceptry.yaml says.

    Raises:
        ConceptryError: conceptry.yaml cannot be read, or there is no such concept.
    """
    desired = state.read_git(settings)
    policy, trouble = state.read_policy(settings, desired.revision)
    if trouble and keep is None:
        raise ConceptryError(trouble, next_step="mend conceptry.yaml first: it says what is kept")
    actual = state.list_hub(settings)
    unknown = sorted(set(names) - actual.concepts.keys())
    if unknown:
        raise ConceptryError("nothing is published", concept=", ".join(unknown), next_step="look at the name")
    wanted = [name for name in sorted(actual.concepts) if not names or name in names]
    return [verdict for name in wanted for verdict in _judge_one(settings, desired, actual, name, keep or policy.keep)]


def _judge_one(settings: Settings, desired: Desired, actual: Actual, name: str, keep: Keep) -> list[Verdict]:
    there = actual.concepts[name]
    asked = _asked(settings, desired.revision, name, datetime.now(UTC) - timedelta(days=keep.days))
    reasons = reasons_to_keep(there.versions, _released(desired, there), asked, keep)
    return [Verdict(name, version, reasons.get(version.name)) for version in there.versions]


def _released(desired: Desired, there: ActualConcept) -> set[str]:
    """What the Space serves, what main describes, and what git says to serve."""
    names = {there.space.release if there.space else None, there.main.release if there.main else None}
    wanted = desired.concepts.get(there.name)
    if wanted is not None and wanted.spec is not None:
        chosen = choose_release(wanted.spec, there.versions, None)
        names.add(chosen.name if chosen else None)
    return {name for name in names if name}


def _asked(settings: Settings, revision: str, name: str, since: datetime) -> list[Asked]:
    asked = []
    for edit in git.edits(state.mirror(settings), revision, name, since):
        concept = parse_sources([edit.source])[name] if edit.source else None
        if concept and isinstance(concept.spec, ConceptSpec) and concept.dvc_md5:
            asked.append(Asked(edit.when, concept.spec, concept.dvc_md5))
    return asked


def delete_versions(settings: Settings, verdicts: Collection[Verdict]) -> int:
    """Delete what is not kept, and return how many versions that were.

    Raises:
        HubError, TransientError: the Hub refused, or could not be asked; what is left is deleted the next time.
    """
    target, deleted = state.target(settings), 0
    for name in sorted({verdict.concept for verdict in verdicts if verdict.kept is None}):
        gone = [verdict.version for verdict in verdicts if verdict.concept == name and verdict.kept is None]
        with hold(settings.work / "locks" / f"{name}.lock", run_id()):
            there = state.list_hub(settings).concepts[name]
            hub.update_main(
                target, name, there.main.release if there.main else None, without={version.number for version in gone}
            )
            for version in gone:
                hub.delete_version(target, name, version)
        deleted += len(gone)
    return deleted


def delete_concept(settings: Settings, name: str) -> None:
    """Delete a concept's repos for good.

    Raises:
        ConceptryError: it is still in git, or is not on the Hub.
        HubError, TransientError: the Hub refused, or could not be asked.
    """
    if name in state.read_git(settings).concepts:
        raise ConceptryError(
            "is in git, so it would be made again", concept=name, next_step=f"remove concepts/{name} and push first"
        )
    if name not in state.list_hub(settings).concepts:
        raise ConceptryError("is not on the Hub", concept=name, next_step="look at the name")
    with hold(settings.work / "locks" / f"{name}.lock", run_id()):
        hub.delete_concept(state.target(settings), name)
