"""Exceptions that a server's client library raised by itself: the server answered with what its client cannot read.

A page of a proxy, or another program at the address, makes clients raise whatever their code runs into: TypeError,
KeyError, a mistake of JSON.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection

from conceptry.errors import MAX_WORDS

UNREADABLE = (TypeError, KeyError, AttributeError, IndexError, ValueError)
"""Exceptions that code raises that reads an answer of another form than it expects."""
_ROOMS = frozenset({"cli", "conceptry", "emulators", "flows", "local", "tasks", "trainer"})


def library_of(error: BaseException, libraries: Collection[str]) -> str | None:
    """Return which of these packages raised an exception; None if the project's own code or another package did.

    Only the frames below the last one of this project count: what its own code raises is a bug.
    """
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    packages = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame in frames]
    last = max((index for index, package in enumerate(packages) if package in _ROOMS), default=-1)
    return next((package for package in packages[last + 1 :] if package in libraries), None)


def in_words(error: BaseException) -> str:
    """Return class and message of a foreign exception on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:MAX_WORDS]
