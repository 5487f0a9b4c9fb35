"""Garbage collection: versions that are no longer needed, and concepts that are no longer in git.

The versions leave the index on main first, then their branches and tags go: the other way round, a watcher would
repair them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from conceptry.concept import ConceptSpec, Desired, parse_sources
from conceptry.errors import ConceptryError
from conceptry.installation import Installation
from conceptry.planner import choose_release
from conceptry.policy import Keep
from conceptry.retention import Asked, reasons_to_keep
from conceptry.version import Live, LiveConcept, Version
from flows.reconcile import read_policy
from tasks import git, hub
from tasks.git.tasks import read_desired
from tasks.locks import hold, run_id


@dataclass(frozen=True)
class RetentionVerdict:
    """What happens to a version: `kept` is the reason why it stays; None when it may be deleted."""

    concept: str
    version: Version
    kept: str | None


def judge(installation: Installation, names: Collection[str] = (), keep: Keep | None = None) -> list[RetentionVerdict]:
    """Decide for every version whether it is kept, by name and number; nothing is changed.

    Args:
        installation: Of git and Hub.
        names: concepts to look at; all when there are none.
        keep: how much to keep; None for what conceptry.yaml says.

    Raises:
        ConceptryError: conceptry.yaml cannot be read, or there is no such concept.
    """
    desired = read_desired(installation)
    policy, error = read_policy(installation, desired.revision)
    if error and keep is None:
        raise ConceptryError(error, next_step="correct conceptry.yaml first: it says what is kept")
    live = hub.list_live(hub.HubSession(installation.hub))
    unknown = sorted(set(names) - live.concepts.keys())
    if unknown:
        raise ConceptryError(
            "nothing is published",
            concept=", ".join(unknown),
            next_step="check the name: `conceptry plan` lists all concepts",
        )
    wanted = [name for name in sorted(live.concepts) if not names or name in names]
    return [
        verdict for name in wanted for verdict in _judge_one(installation, desired, live, name, keep or policy.keep)
    ]


def _judge_one(
    installation: Installation, desired: Desired, live: Live, name: str, keep: Keep
) -> list[RetentionVerdict]:
    there = live.concepts[name]
    asked = _asked(installation, desired.revision, name, datetime.now(UTC) - timedelta(days=keep.days))
    reasons = reasons_to_keep(there.versions, _released(desired, there), asked, keep)
    return [RetentionVerdict(name, version, reasons.get(version.name)) for version in there.versions]


def _released(desired: Desired, there: LiveConcept) -> set[str]:
    """What the Space serves, what main describes, and what git says to serve."""
    names = {there.space.release if there.space else None, there.main.release if there.main else None}
    wanted = desired.concepts.get(there.name)
    if wanted is not None and wanted.spec is not None:
        chosen = choose_release(wanted.spec, there.versions, None)
        names.add(chosen.name if chosen else None)
    return {name for name in names if name}


def _asked(installation: Installation, revision: str, name: str, since: datetime) -> list[Asked]:
    asked = []
    for edit in git.edits(installation.work.mirror, revision, name, since):
        concept = parse_sources([edit.source])[name] if edit.source else None
        if concept and isinstance(concept.spec, ConceptSpec) and concept.dvc_md5:
            asked.append(Asked(edit.when, concept.spec, concept.dvc_md5))
    return asked


def delete_versions(installation: Installation, verdicts: Collection[RetentionVerdict]) -> int:
    """Delete what is not kept, and return how many versions that were.

    Raises:
        HubError, TransientError: the Hub refused, or could not be asked; what is left is deleted the next time.
    """
    session, deleted = hub.HubSession(installation.hub), 0
    for name in sorted({verdict.concept for verdict in verdicts if verdict.kept is None}):
        gone = [verdict.version for verdict in verdicts if verdict.concept == name and verdict.kept is None]
        with hold(installation.work.concept_lock(name), run_id()):
            there = hub.read_live(session, name)
            hub.update_main(
                session, name, there.main.release if there.main else None, without={version.number for version in gone}
            )
            for version in gone:
                hub.delete_version(session, name, version)
        deleted += len(gone)
    return deleted


def delete_concept(installation: Installation, name: str) -> None:
    """Delete a concept's repos for good.

    Raises:
        ConceptryError: it is still in git, or is not on the Hub.
        HubError, TransientError: the Hub refused, or could not be asked.
    """
    if name in read_desired(installation).concepts:
        raise ConceptryError(
            "is in git, so it would be made again", concept=name, next_step=f"remove concepts/{name} and push first"
        )
    session = hub.HubSession(installation.hub)
    if name not in hub.list_live(session).concepts:
        raise ConceptryError(
            "is not on the Hub", concept=name, next_step="check the name: `conceptry plan` lists all concepts"
        )
    with hold(installation.work.concept_lock(name), run_id()):
        hub.delete_concept(session, name)
