"""Atomic writes and digests of files."""

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file under a temporary name and rename it to `path`; create its folder if it does not exist.

    Of two processes that write the same file at once the last rename wins. `mode` is set before the rename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(partial).chmod(mode)
        Path(partial).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(partial).unlink()
        raise


def file_digest(path: Path, algorithm: Literal["md5", "sha256"]) -> str:
    """Return the digest of a file's bytes, in hex.

    Raises:
        FileNotFoundError: the file does not exist.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def has_digest(path: Path, algorithm: Literal["md5", "sha256"], digest: str) -> bool:
    """Whether the file exists and has this digest, in hex."""
    return path.is_file() and file_digest(path, algorithm) == digest
