"""Drift: manual changes on the Hub, found by inspecting single repos. Writes nothing to the Hub.

A listing contains the commits of Space and main, so Space and card are inspected only if their commit has changed since
the last inspection. Branches and tags are in no listing: of a few concepts they are inspected every time, of many the
watcher inspects some in turn. The record of inspections, drift.json in the scratch folder, only saves requests.
"""

import json
import logging
import queue
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from conceptry.desired import Desired
from conceptry.errors import ConceptryError, RateLimitedError, UnexpectedError
from conceptry.fingerprint import serving_fingerprint
from conceptry.installation import Installation
from conceptry.isolation import isolate
from conceptry.reasons import DriftReason
from conceptry.version import Drift, Live, LiveConcept
from flows.rendering import space_of
from tasks import hub, space
from tasks.file_io import write_atomically
from tasks.thread_pool import run_each

FEW = 20
"""Maximum of repos that one run inspects."""
SECONDS = 20.0
"""Time for the inspections of one run."""
_JOBS = 8
_OF_CARDS = (DriftReason.CARD_EDITED, DriftReason.CARD_MISSING)
_logger = logging.getLogger(__name__)

Inspect = Callable[[str], LiveConcept]


def find_drift(
    installation: Installation,
    session: hub.HubSession,
    desired: Desired,
    live: Live,
    *,
    in_turn: bool = False,
    seconds: float = SECONDS,
) -> Live:
    """Return the live state with the drift of the inspected concepts added.

    Args:
        installation: Installation, for its scratch folder.
        session: Session with the Hub.
        desired: Desired state.
        live: Live state from the listing.
        in_turn: Of many concepts, inspect those with the oldest inspection; if False, inspect none of many.
        seconds: Time for all inspections; one that is late is left for the next run.
    """
    memory = _Memory.load(installation.work.drift)
    ours = [name for name, there in sorted(live.concepts.items()) if there.error is None]
    # The listing itself shows that a card is unusable; then its refs were inspected, too.
    sound = [name for name in ours if not live.concepts[name].drift]
    repos = memory.choose(sound, in_turn=in_turn)
    spaces = memory.choose([name for name in ours if memory.space_moved(live.concepts[name])], in_turn=in_turn)
    cards = memory.choose([name for name in sound if memory.card_moved(live.concepts[name])], in_turn=in_turn)

    def inspect(name: str) -> LiveConcept:
        there = live.concepts[name]
        main = hub.find_card_edits(session, name, str(there.main and there.main.sha)) if name in cards else ()
        if main:
            there = replace(there, versions=hub.recover_card(session, name))
        moved = hub.find_moved_refs(session, name, there.versions) if name in repos else ()
        edited = find_edits(session, desired, there) if name in spaces else None
        return replace(there, drift=(*there.drift, *moved, *main, *(edited or ())))

    found = _each(inspect, sorted({*repos, *spaces, *cards}), live, seconds)
    drift = {name: one.drift for name, one in found.items()}
    memory.save(installation.work.drift, live, drift, repos=repos, spaces=spaces, cards=cards)
    return Live({**live.concepts, **found})


def find_edits(session: hub.HubSession, desired: Desired, live: LiveConcept) -> tuple[Drift, ...] | None:
    """Find manual edits of a Space; None if the plan renders it again anyway.

    A Space's files are compared with the record that was pushed with them. Releases of Conceptry before that record
    pushed none: such a Space is compared with a new rendering, but only README, settings.json and the files that the
    concept overrides. The other files come from the templates and the trainer of that release, which may have been
    refactored since, so an edit of one of them is found only after the next push.
    """
    shown, concept = live.space, desired.concepts.get(live.name)
    version = next((version for version in live.versions if shown and version.name == shown.release), None)
    if shown is None or shown.sha is None or version is None or concept is None or concept.spec is None:
        return None
    if shown.serving is None or shown.serving != serving_fingerprint(concept.spec, version, space.TEMPLATES_REVISION):
        return None
    if shown.files is not None:
        edited = hub.edited_files(session, live.name, shown.sha, shown.files)
    else:
        trained, settings = space_of(session, live.name, concept.spec, version)
        own = {"README.md", "settings.json", *map(space.place_in_space, concept.spec.space.override)}
        with TemporaryDirectory(prefix="conceptry-space-") as folder:
            rendered = space.render_space(Path(folder) / "space", trained, settings)
            files = hub.RenderedSpace(rendered, version.name, version.commit, shown.serving).unrecorded_files()
            expected = {path: file for path, file in files.items() if path in own}
            edited = hub.differing_files(session, live.name, shown.sha, expected)
    if not edited:
        return ()
    more = ", ..." if len(edited) > 3 else ""
    return (Drift(DriftReason.SPACE_EDITED, f"the Space was edited manually ({', '.join(edited[:3])}{more})"),)


@dataclass(frozen=True)
class _Memory:
    """Record of each concept's last inspection, and the commits of its unchanged Space and card.

    `turn` is a counter. `found` says that this inspection, and not the one before, found drift: the next run inspects
    the concept first, because who finds drift may not be who repairs it.
    """

    entries: Mapping[str, Mapping[str, Any]]

    @classmethod
    def load(cls, file: Path) -> "_Memory":
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        entries = known.items() if isinstance(known, dict) else ()
        return cls({name: entry for name, entry in entries if _is_entry(entry)})

    def space_moved(self, live: LiveConcept) -> bool:
        shown = live.space
        known = self.entries.get(live.name, {}).get("space")
        return shown is not None and shown.sha is not None and known != shown.sha

    def card_moved(self, live: LiveConcept) -> bool:
        known = self.entries.get(live.name, {}).get("card")
        return live.main is not None and live.main.sha is not None and known != live.main.sha

    def choose(self, names: list[str], *, in_turn: bool) -> list[str]:
        if len(names) <= FEW:
            return names
        if not in_turn:
            return []
        return sorted(names, key=self._turn)[:FEW]

    def _turn(self, name: str) -> tuple[bool, int, str]:
        entry = self.entries.get(name, {})
        return not entry.get("found"), entry.get("turn", 0), name

    def save(
        self,
        file: Path,
        live: Live,
        found: Mapping[str, tuple[Drift, ...]],
        *,
        repos: Iterable[str],
        spaces: Iterable[str],
        cards: Iterable[str],
    ) -> None:
        """Write the record of inspections; if a plan and a watch write at once, the last one wins."""
        if not found:
            return
        turn = 1 + max((entry.get("turn", 0) for entry in self.entries.values()), default=0)
        entries = {name: dict(self.entries.get(name, {})) for name in live.concepts}
        for name, drift in found.items():
            if name in repos:
                entries[name]["turn"] = turn
            entries[name]["found"] = bool(drift) and not entries[name].get("found")
            shown = live.concepts[name].space
            edited = any(one.reason is DriftReason.SPACE_EDITED for one in drift)
            if name in spaces and shown and not edited:
                entries[name]["space"] = shown.sha
            main = live.concepts[name].main
            if name in cards and main and not any(one.reason in _OF_CARDS for one in drift):
                entries[name]["card"] = main.sha
        write_atomically(file, json.dumps(entries).encode())


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("turn", 0), int)


def _each(inspect: Inspect, names: Sequence[str], live: Live, seconds: float) -> dict[str, LiveConcept]:
    """Inspect concepts in parallel; leave one that cannot be inspected, or not in time, for the next run.

    One whose inspection ended in an unexpected error carries it.
    """
    done: queue.SimpleQueue[tuple[str, LiveConcept]] = queue.SimpleQueue()
    limits: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def attempt(name: str) -> None:
        def failed(error: ConceptryError) -> LiveConcept | None:
            if isinstance(error, RateLimitedError):
                limits.put((name, str(error).removeprefix(f"{error.concept}: ")))
                return None
            _logger.warning("%s: could not be inspected: %s", name, error)
            return replace(live.concepts[name], error=str(error)) if isinstance(error, UnexpectedError) else None

        found = isolate(name, partial(inspect, name), failed)
        if found is not None:
            done.put((name, found))

    outcome = run_each(attempt, names, jobs=_JOBS, deadline=time.monotonic() + seconds)
    for name in (*outcome.late, *outcome.waiting):
        _logger.warning("%s: was not inspected within %.0f s; the next run does it", name, seconds)
    if limited := dict(limits.get() for _ in range(limits.qsize())):
        _logger.warning("%d concepts could not be inspected: %s", len(limited), next(iter(limited.values())))
    return dict(done.get() for _ in range(done.qsize()))
