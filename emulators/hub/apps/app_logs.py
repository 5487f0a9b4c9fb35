"""Readers of app logs, whose lines are a time in UTC, a space and the text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

_POLL_SECONDS = 0.3
_KEEP_ALIVE_SECONDS = 15.0


def lines_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the times and texts of a log; nothing when there is none yet."""
    try:
        data = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in data.splitlines():
        time, _, text = line.partition(" ")
        yield time, text


def text_of(path: Path) -> str:
    """Return a log without its times."""
    return "".join(f"{text}\n" for _, text in lines_of(path))


async def events(path: Path, is_growing: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield a log as server-sent events: its lines so far, then new ones for as long as `is_growing` returns true."""
    seen, quiet = 0, 0.0
    identity: int | None = None
    while True:
        found = await asyncio.to_thread(_read_from, path, identity, seen)
        if found is None:
            identity, seen = None, 0
            data = b""
        else:
            identity, seen, data = found
        for line in data.decode("utf-8", "replace").splitlines():
            time, _, text = line.partition(" ")
            yield f"data: {json.dumps({'data': text + chr(10), 'timestamp': time})}\n\n".encode()
        if not data and not await asyncio.to_thread(is_growing):
            return
        quiet = 0.0 if data else quiet + _POLL_SECONDS
        if quiet > _KEEP_ALIVE_SECONDS:
            quiet = 0.0
            yield b"data:\n\n"
        await asyncio.sleep(_POLL_SECONDS)


def _read_from(path: Path, identity: int | None, seen: int) -> tuple[int, int, bytes] | None:
    """Read from offset `seen` up to the last whole line; from the start when the file was replaced."""
    try:
        with path.open("rb") as file:
            inode = path.stat().st_ino
            if inode != identity or path.stat().st_size < seen:
                seen = 0
            file.seek(seen)
            data = file.read()
    except OSError:
        return None
    whole = data[: data.rfind(b"\n") + 1]
    return inode, seen + len(whole), whole
