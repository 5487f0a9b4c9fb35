"""One step of a training as a tar file: the folder that it made, and its record."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

_MADE, _RECORD = "made", "record"


def pack(packed: Path, made: Path, record: Path) -> None:
    """Write a tar file of the folder that a step made, and of its record."""
    with tarfile.open(packed, "w") as archive:
        archive.add(made, _MADE)
        archive.add(record, _RECORD)


def unpack(packed: Path, scratch: Path, made: Path, record: Path) -> None:
    """Restore the folder that a step made, and its record.

    The folder appears last and complete, by a rename, because a record without its folder is not used.

    Args:
        packed: The tar file.
        scratch: Empty folder in the file system of `made`.
        made: Folder of the step; replaced if it exists.
        record: Its record.
    """
    with tarfile.open(packed) as archive:
        archive.extractall(scratch, filter="data")
    record.parent.mkdir(parents=True, exist_ok=True)
    (scratch / _RECORD).replace(record)
    shutil.rmtree(made, ignore_errors=True)
    (scratch / _MADE).rename(made)
