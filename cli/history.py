"""`conceptry history`: a timeline of a concept's commits in git and its versions and releases on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Literal

from rich.table import Table
from rich.text import Text

from cli.options import Full, Json, Name, Root, print_json
from conceptry.changes import list_changes
from conceptry.concept import ConceptSpec
from conceptry.desired import ConceptSource, parse_sources
from conceptry.errors import UnknownConceptError
from conceptry.flat import flat
from conceptry.installation import Installation
from conceptry.version import LiveConcept
from conceptry.version_ref import concept_name
from local.console import out, print_table
from local.current_setup import open_running
from tasks import git, hub

Kind = Literal["commit", "version", "release"]
_KINDS = {"commit": "", "version": "cyan", "release": "bold green"}


@dataclass(frozen=True)
class Event:
    """Event in a concept's history; `ref` is a git commit, a version, or a commit on the Hub."""

    when: datetime
    kind: Kind
    what: str
    by: str
    ref: str


def command(name: Name, root: Root = None, json: Json = False, full: Full = False) -> None:
    """List what happened to a concept: its commits in git, its versions and releases on the Hub."""
    with open_running(root) as installation:
        events = history(installation, concept_name(name))
        if not events:
            raise UnknownConceptError(
                "is neither in git nor on the Hub",
                concept=name,
                next_step="check the name: `conceptry plan` lists all concepts",
            )
    if json:
        print_json([{**asdict(event), "when": event.when.isoformat()} for event in events])
    else:
        print_events(events, full=full)


def history(installation: Installation, name: str) -> list[Event]:
    """List the events of a concept, the newest first.

    Raises:
        SettingsError: the origin or its branch does not exist.
        HubError, TransientError: the origin or the Hub could not be reached.
    """
    session = hub.HubSession(installation.hub)
    bare = git.mirror(installation.settings.repo, installation.work.mirror, login=installation.settings.repo_login)
    head, live = git.head(bare, installation.settings.branch), hub.read_live(session, name)
    events = [
        *_commits(installation, list(git.edits(installation.mirror, head, name))),
        *_versions(live),
        *(
            Event(moment, "release", title, author, commit)
            for commit, moment, title, author in hub.releases(session, name)
        ),
    ]
    return sorted(events, key=lambda event: event.when, reverse=True)


def print_events(events: list[Event], *, full: bool = False) -> None:
    """Print one row an event."""
    rows = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for title in ("when (UTC)", "what", "where", "by"):
        rows.add_column(title, overflow="fold", no_wrap=title in ("when (UTC)", "where"))
    for event in events:
        where = "git" if event.kind == "commit" else "Hub"
        what = Text(event.what, style=_KINDS[event.kind])
        rows.add_row(
            f"{event.when:%Y-%m-%d %H:%M:%S}", what, f"{where} {event.ref if full else event.ref[:8]}", event.by
        )
    print_table(out(), rows)


def _commits(installation: Installation, found: list[git.Edit]) -> Iterator[Event]:
    for edit, before in zip_longest(found, found[1:]):
        what = _changes(installation, before, edit)
        yield Event(edit.when, "commit", f"{edit.summary} ({what})" if what else edit.summary, edit.author, edit.commit)


def _changes(installation: Installation, earlier: git.Edit | None, edit: git.Edit) -> str:
    """Return the changes of a concept in a commit, in words."""
    old, new = earlier.source if earlier else None, edit.source
    if new is None:
        return "removed"
    if old is None or earlier is None:
        return "added"
    before, after = _spec(installation, old, earlier.commit), _spec(installation, new, edit.commit)
    if after is None:
        return "concept.yaml has mistakes"
    changed = list_changes(old_images=(), new_images=(), old_keys=flat(before), new_keys=flat(after)) if before else ()
    changes = [str(change) for change in changed]
    if (old.images_dvc, old.output) != (new.images_dvc, new.output):
        changes.append("other images")
    return ", ".join(changes)


def _spec(installation: Installation, source: ConceptSource, commit: str) -> ConceptSpec | None:
    return parse_sources([source], git.read_bases(installation.mirror, commit))[source.name].spec


def _versions(live: LiveConcept) -> Iterator[Event]:
    for version in live.versions:
        when = datetime.fromisoformat(version.created)
        loss = "" if version.loss is None else f", held-out loss {version.loss:.4f}"
        retrained = f", retrained for {version.retrain}" if version.retrain else ""
        what = f"{version.name} was made, {version.gate}{loss}{retrained}"
        yield Event(when if when.tzinfo else when.replace(tzinfo=UTC), "version", what, "", version.commit)
