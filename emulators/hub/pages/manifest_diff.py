"""Differences between the JSON manifests of two revisions, key by key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from emulators.hub import git_objects

_MAX_MANIFEST = 4 << 20
_DIGEST = 32


@dataclass(frozen=True)
class Difference:
    """One key that differs; `old` and `new` are formatted for people, `change` is the relative change of a number."""

    key: str
    status: Literal["added", "deleted", "modified"]
    old: str = ""
    new: str = ""
    change: str = ""


def manifest(git: Any, commit: str, path: str | None) -> dict[str, Any] | None:
    """Return the JSON object in a file of a revision; none without a path, or when there is no such object."""
    data = git_objects.read(git, commit, path) if path else None
    if data is None or len(data) > _MAX_MANIFEST:
        return None
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Difference]]:
    """Return the differences, grouped by the first part of each key; top-level values come first."""
    before, after = dict(_flat(old)), dict(_flat(new))
    groups: dict[str, list[Difference]] = {"": []}
    for path in [*before, *(path for path in after if path not in before)]:
        if before.get(path, _MISSING) == after.get(path, _MISSING):
            continue
        group, key = (path[0], ".".join(path[1:])) if len(path) > 1 else ("", path[0])
        groups.setdefault(group, []).append(_difference(key, before.get(path, _MISSING), after.get(path, _MISSING)))
    return {group: found for group, found in groups.items() if found}


_MISSING = object()


def _flat(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield leaves with their paths. A list is one leaf: an inserted item must not make all later ones differ."""
    if isinstance(value, Mapping) and value and len(path) < 20:
        for key, inner in value.items():
            yield from _flat(inner, (*path, str(key)))
    else:
        yield path, value


def _difference(key: str, old: Any, new: Any) -> Difference:
    if old is _MISSING:
        return Difference(key, "added", new=_format(new))
    if new is _MISSING:
        return Difference(key, "deleted", old=_format(old))
    return Difference(key, "modified", _format(old), _format(new), _change(old, new))


def _format(value: Any) -> str:
    if isinstance(value, str):
        # The beginning of a digest is enough to tell it from another.
        is_digest = len(value) >= _DIGEST and all(c in "0123456789abcdef" for c in value[:_DIGEST])
        return f"{value[:12]}…" if is_digest else value[:500]
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False)[:500]


def _change(old: Any, new: Any) -> str:
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (old, new))
    if not numbers or not old:
        return ""
    return f"{(new - old) / abs(old):+.1%}"
