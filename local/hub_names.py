"""Names of concepts and versions for shell completion: from the clone, and from the Hub within a second.

The Hub's client would take longer to import than a user waits for the key Tab.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

from conceptry.errors import ConceptryError
from conceptry.installation import HubTarget
from local.current_setup import installation_if_any
from tasks.git.checkout import find_top

PATIENCE = 1.0
"""Seconds for one answer of the Hub."""
_MOST = 16_000_000
_VERSION = re.compile(r"v[1-9][0-9]{0,5}")


def concepts(root: Path | None) -> list[str]:
    """Return the names of the concepts in the clone around the current folder, and on the Hub; never raises."""
    names: set[str] = set()
    with suppress(ConceptryError, OSError):
        names |= {file.parent.name for file in find_top(Path.cwd()).glob("concepts/*/concept.yaml")}
    target = _target(root)
    if target is not None:
        listed = _read(target, f"models?author={quote(target.owner, safe='')}&limit=1000")
        ids = (str(one.get("id")) for one in listed or () if isinstance(one, dict))
        names |= {name for owner, _, name in (one.partition("/") for one in ids) if owner == target.owner and name}
    return sorted(names)


def versions(root: Path | None, name: str) -> list[str]:
    """Return the published versions of a concept, the newest first, and the names of chosen ones; never raises."""
    target = _target(root)
    refs = _read(target, f"models/{quote(target.repo(name))}/refs") if target is not None else None
    branches = refs.get("branches") if isinstance(refs, dict) else None
    found = [str(one.get("name")) for one in branches or () if isinstance(one, dict)]
    numbered = sorted((one for one in found if _VERSION.fullmatch(one)), key=lambda one: -int(one[1:]))
    return [*numbered, *(["release", "latest"] if numbered else [])]


def _target(root: Path | None) -> HubTarget | None:
    with suppress(ConceptryError, OSError):
        installation = installation_if_any(root)
        return installation.hub if installation is not None else None
    return None


def _read(target: HubTarget, path: str) -> Any:
    """Return the JSON of an answer of the Hub; None for any failure. The token follows no redirect."""
    request = urllib.request.Request(f"{target.endpoint}/api/{path}")
    if target.token is not None:
        request.add_unredirected_header("Authorization", f"Bearer {target.token.get_secret_value()}")
    with suppress(OSError, ValueError, HTTPException), urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.loads(answer.read(_MOST))
    return None


def candidates(root: Path | None, incomplete: str) -> Iterator[str]:
    """Yield what completes the begin of `NAME` or `NAME@VERSION`."""
    name, at, _ = incomplete.partition("@")
    yield from (f"{name}@{version}" for version in versions(root, name)) if at else concepts(root)
