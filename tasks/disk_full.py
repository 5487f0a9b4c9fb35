"""A full disk, reported as such: an error that passes once there is space, not one of the network or of the data."""

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conceptry.errors import TransientError

_CODES = (errno.ENOSPC, errno.EDQUOT)
_WORDS = re.compile(r"No space left on device|Disk quota exceeded")


class DiskFullError(TransientError):
    """The disk of a path is full."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the disk of {path} is full",
            next_step="free some space; flows try again by themselves",
        )
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], "DiskFullError"], tuple[str]]:
        return (type(self), (self.path,))


def disk_full(error: BaseException | None, where: Path | str) -> DiskFullError | None:
    """Return the error to raise if a full disk caused `error`; `where` is the path if the system names none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _CODES:
            return DiskFullError(str(error.filename or where))
        error = error.__cause__
    return None


def says_disk_full(words: str) -> bool:
    """Whether the messages of a program say that a disk is full."""
    return _WORDS.search(words) is not None


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Translate errors of a full disk within the block.

    Raises:
        DiskFullError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        full = disk_full(error, where)
        if full is None:
            raise
        raise full from error
