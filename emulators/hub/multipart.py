"""Multipart uploads: each part has a signed URL, and a last request completes the object.

The parts are written into one draft at their offsets, in any order, repeatedly if necessary. The digest is taken on
completion, so that only the announced bytes can become the object.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulators import atomic_files
from emulators.hub.http_errors import HubError, bad_request
from emulators.hub.lfs import LfsStore, blocks, move_into_place

# Larger uploads use parts if the client can; below, one request is simpler and fast enough.
ABOVE_BYTES = 1 << 30
PART_BYTES = 256 << 20
_MAX_PARTS = 10_000
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Part:
    """One part of an upload; `number` counts from 1, `stop` is the offset after its last byte."""

    number: int
    start: int
    stop: int


def parts(size: int, length: int) -> list[Part]:
    """Split a size in bytes into parts."""
    starts = range(0, size, length)
    return [Part(i, start, min(start + length, size)) for i, start in enumerate(starts, start=1)]


class MultipartUploads:
    """The unfinished multipart uploads of a root."""

    def __init__(self, store: LfsStore) -> None:
        self._store = store

    def _draft(self, upload: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{32}", upload):
            raise HubError(404, "There is no such upload")
        return self._store.root / "tmp" / f"{upload}.parts"

    def begin(self, base: str, oid: str, size: int, holder: str) -> dict[str, Any]:
        """Start an upload; return the LFS action with the signed URLs of each part and of the completion."""
        length = max(PART_BYTES, -(-size // _MAX_PARTS))
        upload = secrets.token_hex(16)
        with self._draft(upload).open("xb") as file:
            file.truncate(size)
        header = {"chunk_size": str(length)}
        for part in parts(size, length):
            operation = f"part/{upload}/{part.number}/{part.start}"
            header[f"{part.number:05d}"] = base + self._store.sign(operation, oid, part.stop - part.start, holder)
        return {"href": base + self._store.sign(f"complete/{upload}", oid, size, holder), "header": header}

    async def receive(self, upload: str, start: int, size: int, chunks: AsyncIterator[bytes]) -> str:
        """Write one part; returns its digest.

        Raises:
            HubError: the part does not have the announced size (400), or there is no such upload (404).
        """
        loop, digest, received = asyncio.get_running_loop(), hashlib.sha256(), 0
        try:
            file = self._draft(upload).open("r+b", buffering=0)
        except FileNotFoundError:
            raise HubError(404, "There is no such upload") from None
        with file:
            file.seek(start)

            def store(data: bytes) -> None:
                digest.update(data)
                file.write(data)

            async for block in blocks(chunks):
                received += len(block)
                if received > size:
                    raise bad_request(f"More bytes arrived than the announced {size}")
                await loop.run_in_executor(None, store, block)
        if received != size:
            raise bad_request(f"{received} bytes arrived instead of the announced {size}")
        return digest.hexdigest()

    def complete(self, upload: str, oid: str, size: int) -> None:
        """Make the object from the parts.

        Raises:
            HubError: the bytes do not have the announced digest (400), or there is no such upload (404).
        """
        draft, whole, digest = self._draft(upload), atomic_files.scratch(self._store.root, ".lfs"), hashlib.sha256()
        try:
            # Copied instead of renamed: a request for a part that is still open could write into the hashed file.
            with draft.open("rb", buffering=0) as source, whole.open("xb", buffering=0) as target:
                while block := source.read(_BLOCK):
                    digest.update(block)
                    target.write(block)
                os.fsync(target.fileno())
            if digest.hexdigest() != oid:
                raise bad_request(f"The parts do not make {oid}: send those that failed again")
            move_into_place(whole, self._store.path(oid))
            draft.unlink(missing_ok=True)
        except FileNotFoundError:
            if self._store.size(oid) != size:  # otherwise this completes it a second time
                raise HubError(404, "There is no such upload") from None
        finally:
            whole.unlink(missing_ok=True)
