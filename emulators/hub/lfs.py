"""Large files by their sha256, one copy for all repos, and the signed URLs for their transfer.

    root/lfs/ab/cd/<sha256>          the bytes
    root/lfs/ab/cd/<sha256>.grants   the holders that may refer to them, one a line: repo:KEY or account:NAME

The same bytes are stored once. Knowing a digest gives no access: an account may refer to an object only if it has
uploaded it, or can read a repo that contains it. Other accounts must send the bytes, although they are stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urlencode

from emulators import atomic_files
from emulators.hub.http_errors import HubError, bad_request
from emulators.hub.signing import Signer

URL_SECONDS = 3600
_BUFFER = 1 << 20
_SYNC_EVERY = 64 << 20


def is_oid(text: str) -> bool:
    """Whether this is a sha256 in lower-case hex."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


class LfsStore:
    """All large files of a Hub."""

    def __init__(self, root: Path, signer: Signer) -> None:
        self.root, self._signer = root, signer

    def path(self, oid: str) -> Path:
        """Return the path of an object, stored or not.

        Raises:
            HubError: `oid` is no sha256 (400).
        """
        if not is_oid(oid):
            raise bad_request("An LFS oid is a sha256 in lower-case hex")
        return self.root / "lfs" / oid[:2] / oid[2:4] / oid

    def size(self, oid: str) -> int | None:
        """Return an object's size in bytes; none when it is not stored."""
        try:
            return self.path(oid).stat().st_size
        except FileNotFoundError:
            return None

    def grants(self, oid: str) -> frozenset[str]:
        """Return the holders that may refer to an object: `repo:KEY` and `account:NAME`."""
        try:
            return frozenset(self.path(oid).with_suffix(".grants").read_text(encoding="utf-8").splitlines())
        except FileNotFoundError:
            return frozenset()

    def grant(self, oid: str, holder: str) -> None:
        """Allow a repo or an account to refer to an object."""
        if holder in self.grants(oid):
            return
        path = self.path(oid).with_suffix(".grants")
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(fd, f"{holder}\n".encode())  # one write, so that lines of several processes do not mix
            os.fsync(fd)
        finally:
            os.close(fd)

    async def receive(self, oid: str, size: int, chunks: AsyncIterator[bytes]) -> None:
        """Store a stream under its digest, hashing while it arrives, with two buffers in memory.

        Raises:
            HubError: the bytes do not have the announced size and digest (400).
        """
        target = self.path(oid)
        draft = atomic_files.scratch(self.root, ".lfs")
        digest, received = hashlib.sha256(), 0
        loop = asyncio.get_running_loop()
        try:
            with draft.open("xb", buffering=0) as file:

                def store(data: bytes) -> None:
                    digest.update(data)
                    file.write(data)

                # One buffer is hashed and written while the next one arrives; syncing begins before the last buffer.
                writing: asyncio.Future[None] | None = None
                syncing: asyncio.Future[None] | None = None
                unsynced = 0
                try:
                    async for block in blocks(chunks):
                        received += len(block)
                        if received > size:
                            raise bad_request(f"More bytes arrived than the announced {size}")
                        if writing is not None:
                            await writing
                        writing = loop.run_in_executor(None, store, block)
                        unsynced += len(block)
                        if unsynced >= _SYNC_EVERY and (syncing is None or syncing.done()):
                            syncing, unsynced = loop.run_in_executor(None, os.fdatasync, file.fileno()), 0
                finally:
                    for pending in (writing, syncing):
                        if pending is not None:
                            await pending
                await loop.run_in_executor(None, os.fsync, file.fileno())
            if received != size or digest.hexdigest() != oid:
                raise bad_request(f"The {received} bytes received are not the announced {size} of {oid}")
            await loop.run_in_executor(None, move_into_place, draft, target)
        finally:
            draft.unlink(missing_ok=True)

    def sign(self, operation: str, oid: str, size: int, holder: str) -> str:
        """Return path and query of a URL that allows one operation on one object for an hour, without a token."""
        expires = int(time.time()) + URL_SECONDS
        query: dict[str, str | int] = {"size": size, "holder": holder, "expires": expires}
        query["signature"] = self._signer.sign(operation, oid, size, holder, expires)
        return f"/_lfs/{operation}/{quote(oid)}?{urlencode(query)}"

    def verify(self, operation: str, oid: str, query: dict[str, str]) -> tuple[int, str]:
        """Check a signed URL and return its size and holder.

        Raises:
            HubError: the URL is not signed, altered or expired (403).
        """
        try:
            size, expires = int(query["size"]), int(query["expires"])
            holder, signature = query["holder"], query["signature"]
        except (KeyError, ValueError):
            raise HubError(403, "This address is not signed") from None
        if not self._signer.is_valid(signature, operation, oid, size, holder, expires):
            raise HubError(403, "The signature of this address is wrong")
        if expires < time.time():
            raise HubError(403, "This address has expired")
        return size, holder


async def blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join chunks into larger ones."""
    parts, length = [], 0
    async for chunk in chunks:
        parts.append(chunk)
        length += len(chunk)
        if length >= _BUFFER:
            yield b"".join(parts)
            parts, length = [], 0
    if parts:
        yield b"".join(parts)


def move_into_place(draft: Path, target: Path) -> None:
    """Rename a complete, synced file to its final path, syncing the folders."""
    for folder in (target.parent.parent.parent, target.parent.parent, target.parent):
        if not folder.exists():
            folder.mkdir(exist_ok=True, parents=True)
            atomic_files.sync(folder.parent)
    draft.rename(target)
    atomic_files.sync(target.parent)
