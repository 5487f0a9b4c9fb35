"""A closer look at single repos than a listing gives: branches, tags, and the files of Spaces.

A listing tells the commit of every Space, so one that was found in order at that commit is in order: only what moved
since is looked at. Branches and tags are in no listing. They are looked at every time while there are few concepts;
where there are many, the watcher goes round, some each time. What is remembered of this, in `work/audited.json`, only
saves work.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from conceptry.concept import Desired
from conceptry.errors import ConceptryError
from conceptry.fingerprint import serving_fingerprint
from conceptry.settings import Settings
from conceptry.version import Actual, ActualConcept
from flows import state
from flows.rendering import render_space
from tasks import hub

FEW = 20
"""So many repos are looked at in one go."""
_JOBS = 8
_logger = logging.getLogger(__name__)


def audit(settings: Settings, desired: Desired, actual: Actual, *, in_turn: bool = False) -> Actual:
    """Fill in what somebody changed by hand (`drift`) of the concepts that are looked at.

    Args:
        settings: of this installation.
        desired: what git asks for.
        actual: what the listing said.
        in_turn: with more concepts than a few, look at those that were not looked at for longest; else at none.
    """
    file = settings.work / "audited.json"
    known = _read(file)
    ours = [name for name, there in sorted(actual.concepts.items()) if there.trouble is None]
    spaces = [name for name in ours if _space_is_new(actual.concepts[name], known)]
    repos, spaces = (_some(names, known, in_turn=in_turn) for names in (ours, spaces))
    templates = state.templates()

    def look(name: str) -> tuple[str, tuple[str, ...]]:
        there = actual.concepts[name]
        drift = hub.find_moved(state.target(settings), name, there.versions) if name in repos else ()
        if name in spaces:
            edited = find_edits(settings, desired, there, templates)
            if edited is None:
                return name, drift
            drift += edited
        return name, drift

    drifts = dict(_each(look, sorted({*repos, *spaces})))
    if drifts:
        _write(file, known, actual, drifts, repos, spaces)
    return Actual(
        {name: replace(there, drift=drifts.get(name, there.drift)) for name, there in actual.concepts.items()}
    )


def find_edits(settings: Settings, desired: Desired, there: ActualConcept, templates: str) -> tuple[str, ...] | None:
    """Compare a Space's files with what it should be rendered from; None when a plan renders it again anyway."""
    space, wanted = there.space, desired.concepts.get(there.name)
    version = next((version for version in there.versions if space and version.name == space.release), None)
    if space is None or space.sha is None or version is None or wanted is None or wanted.spec is None:
        return None
    if space.serving != serving_fingerprint(wanted.spec, version, templates):
        return None
    with TemporaryDirectory(prefix="conceptry-space-") as folder:
        rendered = render_space(settings, there.name, wanted.spec, version, Path(folder) / "space")
        files = hub.space_files(rendered, version.name, space.serving, version.commit)
        differing = hub.differing_files(state.target(settings), there.name, space.sha, files)
    if not differing:
        return ()
    more = ", ..." if len(differing) > 3 else ""
    return (f"the Space was edited by hand ({', '.join(differing[:3])}{more})",)


def _each(
    look: Callable[[str], tuple[str, tuple[str, ...]]], names: Iterable[str]
) -> list[tuple[str, tuple[str, ...]]]:
    """Look at several at a time; one that cannot be looked at is left for the next time."""

    def try_to(name: str) -> tuple[str, tuple[str, ...]] | None:
        try:
            return look(name)
        except ConceptryError as error:
            _logger.warning("%s: could not be looked at: %s", name, error)
            return None

    with ThreadPoolExecutor(_JOBS, thread_name_prefix="audit") as pool:
        return [found for found in pool.map(try_to, names) if found is not None]


def _space_is_new(there: ActualConcept, known: Mapping[str, Any]) -> bool:
    space = there.space
    return space is not None and space.sha is not None and known.get(there.name, {}).get("space") != space.sha


def _some(names: list[str], known: Mapping[str, Any], *, in_turn: bool) -> list[str]:
    if len(names) <= FEW:
        return names
    if not in_turn:
        return []
    return sorted(names, key=lambda name: (known.get(name, {}).get("turn", 0), name))[:FEW]


def _read(file: Path) -> dict[str, Any]:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(
    file: Path,
    known: Mapping[str, Any],
    actual: Actual,
    drifts: Mapping[str, tuple[str, ...]],
    repos: Iterable[str],
    spaces: Iterable[str],
) -> None:
    """Remember whose turn it was, and which Spaces are in order at their commit."""
    turn = 1 + max((entry.get("turn", 0) for entry in known.values()), default=0)
    entries = {name: dict(known.get(name, {})) for name in actual.concepts}
    for name in drifts:
        if name in repos:
            entries[name]["turn"] = turn
        space = actual.concepts[name].space
        if name in spaces and space and not any("Space" in words for words in drifts[name]):
            entries[name]["space"] = space.sha
    file.parent.mkdir(parents=True, exist_ok=True)
    # A plan and a watch may write it at once: the last one wins, and what the other knew is looked at again.
    partial = file.with_name(f".audited-{os.getpid()}-{threading.get_ident()}.json")
    partial.write_text(json.dumps(entries), encoding="utf-8")
    partial.replace(file)
