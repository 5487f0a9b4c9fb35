"""What differs between the JSON manifests of two revisions, key by key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from emulators.hub import history

_MAX_MANIFEST = 4 << 20
_DIGEST = 32


@dataclass(frozen=True)
class Difference:
    """One key; `old` and `new` are as people read them, `change` says by how much a number differs."""

    key: str
    status: Literal["added", "deleted", "modified"]
    old: str = ""
    new: str = ""
    change: str = ""


def manifest(git: Any, commit: str, path: str | None) -> dict[str, Any] | None:
    """Read the JSON object at a path of a revision; none when there is no path or no such object."""
    data = history.read(git, commit, path) if path else None
    if data is None or len(data) > _MAX_MANIFEST:
        return None
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Difference]]:
    """What differs, by the first part of each key: images, spec, metrics, files; plain keys come first."""
    before, after = dict(_flat(old)), dict(_flat(new))
    groups: dict[str, list[Difference]] = {"": []}
    for path in [*before, *(path for path in after if path not in before)]:
        if before.get(path, _NOTHING) == after.get(path, _NOTHING):
            continue
        group, key = (path[0], ".".join(path[1:])) if len(path) > 1 else ("", path[0])
        groups.setdefault(group, []).append(_difference(key, before.get(path, _NOTHING), after.get(path, _NOTHING)))
    return {group: found for group, found in groups.items() if found}


_NOTHING = object()


def _flat(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Leaves with their paths. Lists are compared as wholes: an inserted item must not make all others differ."""
    if isinstance(value, Mapping) and value and len(path) < 20:
        for key, inner in value.items():
            yield from _flat(inner, (*path, str(key)))
    else:
        yield path, value


def _difference(key: str, old: Any, new: Any) -> Difference:
    if old is _NOTHING:
        return Difference(key, "added", new=_shown(new))
    if new is _NOTHING:
        return Difference(key, "deleted", old=_shown(old))
    return Difference(key, "modified", _shown(old), _shown(new), _change(old, new))


def _shown(value: Any) -> str:
    if isinstance(value, str):
        # A digest is told apart by its beginning.
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
