"""Atomic, durable writes of files (temporary file, sync, rename), and locks between processes."""

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
    """Sync files' content, or folders' entries, to disk."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file atomically: readers see the old bytes or the new ones, also after a crash."""
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
    """Hold an exclusive lock on a file (created if missing) while the block runs; it ends with the process.

    Yields whether the lock file is still at its path: false if its folder was moved or deleted while this waited.

    Raises:
        FileNotFoundError: the folder does not exist.
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


@contextlib.contextmanager
def try_locked(path: Path) -> Iterator[bool]:
    """Try to hold an exclusive lock on a file (created if missing) while the block runs; yields whether that worked."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def is_locked(path: Path) -> bool:
    """Whether some process holds the exclusive lock on a file (created if missing)."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def scratch(root: Path, suffix: str = "") -> Path:
    """Return an unused path below root/tmp for an unfinished file, on the file system of its final path."""
    return root / "tmp" / f"{uuid.uuid4().hex}{suffix}"


def sweep(root: Path) -> None:
    """Remove unfinished files of killed processes; younger than a day they may belong to a live process."""
    for entry in (root / "tmp").iterdir():
        with contextlib.suppress(OSError):
            if time.time() - entry.stat().st_mtime < _LEFTOVER_SECONDS:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
