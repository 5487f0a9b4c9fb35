"""Signatures of URLs and cookies, with a key that all servers of a root share (root/secret)."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from emulators import atomic_files


class Signer:
    """Signs and verifies texts with the root's key, which is created when missing."""

    def __init__(self, root: Path) -> None:
        self._key = _load_key(root / "secret")

    def sign(self, *parts: object) -> str:
        """Return the signature of the parts, in hex."""
        message = "\0".join(map(str, parts))
        return hmac.new(self._key, message.encode(), hashlib.sha256).hexdigest()

    def is_valid(self, signature: str, *parts: object) -> bool:
        """Whether a text is the signature of the parts."""
        return hmac.compare_digest(signature.encode("utf-8", "replace"), self.sign(*parts).encode())


def _load_key(path: Path) -> bytes:
    # Created once: of several servers that start together the first link wins, and all read its key.
    if not path.exists():
        draft = path.with_name(f".secret.{secrets.token_hex(8)}")
        atomic_files.write_file(draft, secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()
