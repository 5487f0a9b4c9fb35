"""Files that survive: written beside their place, synced, then renamed; and locks that hold between processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

_LEFTOVER_SECONDS = 24 * 3600


def sync(*paths: Path) -> None:
    """Make files' bytes, or folders' names, durable."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file as a whole: readers see the old bytes or the new ones, also after a crash."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold an exclusive lock on a file (created if missing). It goes with the process, so kill -9 leaves none behind.

    Yields whether the lock file is still where it was: false means that its folder was moved away while we waited.
    Raises FileNotFoundError when the folder does not exist.
    """
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            here = path.stat()
            yield os.path.samestat(here, os.fstat(file.fileno()))
        except FileNotFoundError:
            if path.parent.exists():
                raise
            yield False


def scratch(root: Path, suffix: str = "") -> Path:
    """A fresh name in the hub's folder for unfinished things, on the same file system as what they become."""
    return root / "tmp" / f"{uuid.uuid4().hex}{suffix}"


def sweep(root: Path) -> None:
    """Remove what killed processes left unfinished long ago (younger things may belong to another live server)."""
    for entry in (root / "tmp").iterdir():
        with contextlib.suppress(OSError):
            if time.time() - entry.stat().st_mtime < _LEFTOVER_SECONDS:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
