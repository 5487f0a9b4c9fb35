"""What became of a concept, as one timeline: its commits in git, its versions and its releases on the Hub."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from conceptry.changes import list_changes
from conceptry.concept import ConceptSource, ConceptSpec, parse_sources
from conceptry.settings import Settings
from conceptry.version import ActualConcept
from flows import state
from flows.flat import flat
from tasks import git, hub

Kind = Literal["commit", "version", "release"]


@dataclass(frozen=True)
class Event:
    """Something that happened to a concept; `ref` is a git commit, a version, or a commit of the Hub."""

    when: datetime
    kind: Kind
    what: str
    by: str
    ref: str


def history(settings: Settings, name: str) -> list[Event]:
    """List all that happened to a concept, the newest first."""
    bare = git.mirror(settings.repo, state.mirror(settings))
    there = state.list_hub(settings).concepts.get(name) or ActualConcept(name, (), None)
    events = [
        *_commits(list(git.edits(bare, git.head(bare, settings.branch), name))),
        *_versions(there),
        *(
            Event(moment, "release", title, author, commit)
            for commit, moment, title, author in hub.releases(state.target(settings), name)
        ),
    ]
    return sorted(events, key=lambda event: event.when, reverse=True)


def _commits(found: list[git.Edit]) -> Iterator[Event]:
    for edit, before in zip(found, [*found[1:], None], strict=True):
        what = _said(before.source if before else None, edit.source)
        yield Event(edit.when, "commit", f"{edit.summary} ({what})" if what else edit.summary, edit.author, edit.commit)


def _said(old: ConceptSource | None, new: ConceptSource | None) -> str:
    """What a commit did to a concept, in words."""
    if new is None:
        return "removed"
    if old is None:
        return "added"
    before, after = _spec(old), _spec(new)
    if after is None:
        return "concept.yaml has mistakes"
    changes = [str(change) for change in list_changes((), (), flat(before), flat(after))] if before else []
    if old.images_dvc != new.images_dvc:
        changes.append("other images")
    return ", ".join(changes)


def _spec(source: ConceptSource) -> ConceptSpec | None:
    return parse_sources([source])[source.name].spec


def _versions(there: ActualConcept) -> Iterator[Event]:
    for version in there.versions:
        when = datetime.fromisoformat(version.created)
        loss = "" if version.loss is None else f", held-out loss {version.loss:.4f}"
        retrained = f", retrained for {version.retrain}" if version.retrain else ""
        what = f"{version.name} was made, {version.gate}{loss}{retrained}"
        yield Event(when if when.tzinfo else when.replace(tzinfo=UTC), "version", what, "", version.commit)
