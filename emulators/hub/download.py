"""Send a file's bytes, whole or a range, with the headers that caches and resuming clients need."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

_BLOCK = 1 << 20
_TEXT = (".md", ".json", ".jsonl", ".yaml", ".yml", ".py", ".toml")
_INLINE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml", "application/pdf")
# Any account may publish files: an HTML page among them must not run scripts on this server's origin.
_GUARDS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class FileToSend:
    """A file to send: bytes in memory, or a file on disk."""

    name: str
    size: int
    etag: str
    data: bytes | None = None
    path: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Range:
    start: int
    stop: int


def send_file(request: Request, file: FileToSend) -> Response:
    """Answer GET or HEAD with the file, the requested range (206), or "not modified" (304)."""
    headers = {
        "ETag": f'"{file.etag}"',
        "Accept-Ranges": "bytes",
        "Content-Type": _media_type(file.name),
        "Content-Disposition": _disposition(file.name),
        **_GUARDS,
        **file.headers,
    }
    known = [tag.strip().removeprefix("W/").strip('"') for tag in request.headers.get("If-None-Match", "").split(",")]
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    selected, status = _Range(0, file.size), 200
    if "Range" in request.headers and request.headers.get("If-Range", headers["ETag"]) == headers["ETag"]:
        part = _parse_range(request.headers["Range"], file.size)
        if part is None:
            return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{file.size}"})
        if part != selected or file.size:
            selected, status = part, 206
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.size}"
    headers["Content-Length"] = str(selected.stop - selected.start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    if file.path is not None:
        return StreamingResponse(_blocks(file.path, selected), status_code=status, headers=headers)
    return Response((file.data or b"")[selected.start : selected.stop], status_code=status, headers=headers)


async def _blocks(path: Path, part: _Range) -> AsyncIterator[bytes]:
    with path.open("rb", buffering=0) as file:
        file.seek(part.start)
        left = part.stop - part.start
        while left > 0:
            block = await run_in_threadpool(file.read, min(_BLOCK, left))
            if not block:
                raise RuntimeError(f"{path} is shorter than it was")
            left -= len(block)
            yield block


def _parse_range(header: str, size: int) -> _Range | None:
    """Return one range of bytes; the whole file for other forms of the header, none for a range outside the file."""
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.replace(" ", ""))
    if match is None or match.group(1) == match.group(2) == "":
        return _Range(0, size)
    first, last = match.groups()
    if not first:
        return _Range(max(size - int(last), 0), size) if int(last) and size else None
    start = int(first)
    stop = min(int(last) + 1, size) if last else size
    return _Range(start, stop) if start < stop else None


def _media_type(name: str) -> str:
    guessed, encoding = mimetypes.guess_type(name)
    if guessed in _INLINE_TYPES and encoding is None:
        return str(guessed)
    is_text = (guessed or "").startswith("text/") or PurePosixPath(name).suffix in _TEXT
    return "text/plain; charset=utf-8" if is_text and encoding is None else "application/octet-stream"


def _disposition(name: str) -> str:
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in PurePosixPath(name).name)
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(PurePosixPath(name).name)}"
