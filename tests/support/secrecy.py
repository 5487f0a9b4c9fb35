"""Where a secret may have been written: chains of exceptions, command lines, folders."""

import traceback
from collections.abc import Iterator
from pathlib import Path

import psutil


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and all that it carries along, also what `from None` only hides."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def words(error: BaseException) -> str:
    """All that a log, a debugger or a pickle may show of an exception."""
    told = [f"{one!r} {vars(one)!r}" for one in chain(error)]
    return "\n".join([*told, *traceback.format_exception(error)])


def commands() -> list[str]:
    """The command lines of all processes below this one."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            found.append(" ".join(child.cmdline()))
        except psutil.Error:
            continue
    return found


def files_with(secret: str, *folders: Path) -> list[Path]:
    """The files below the folders that contain a secret."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and secret.encode() in path.read_bytes():
                found.append(path)
    return found
