"""Where a secret may have been written: chains of exceptions, command lines, folders."""

import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pygit2


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
    for child in below("self") if Path("/proc/self/task").is_dir() else psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            found.append(" ".join(child.cmdline()))
    return found


def below(pid: str) -> Iterator[psutil.Process]:
    """The processes below one, on Linux: psutil reads all of the machine for that, which slows down what is watched."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError, psutil.Error):
            for child in path.read_text().split():
                yield psutil.Process(int(child))
                yield from below(child)


class CommandWatch(threading.Thread):
    """Collects the command lines of all processes below this one while the block runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[str] = set()
        self._ended = threading.Event()

    def __enter__(self) -> "CommandWatch":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(0.005):
            self.seen.update(commands())


def objects_with(secrets: Iterable[str], *repos: Path) -> list[str]:
    """The objects of bare repositories that contain one of these secrets; their files are compressed."""
    wanted, found = {secret: secret.encode() for secret in secrets}, []
    for repo in repos:
        opened = pygit2.Repository(str(repo))
        for oid in opened:
            content = opened.get(oid).read_raw()
            found += [f"{secret} in {repo.name} {oid}" for secret, raw in wanted.items() if raw in content]
    return found


def secrets_in(secrets: Iterable[str], *folders: Path) -> list[str]:
    """Which of these secrets a file below the folders contains, and which file; each file is read once."""
    wanted, found = {secret: secret.encode() for secret in secrets}, []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                found += [f"{secret} in {path}" for secret, raw in wanted.items() if raw in content]
    return found


def files_with(secret: str, *folders: Path) -> list[Path]:
    """The files below the folders that contain a secret."""
    return [Path(told.partition(" in ")[2]) for told in secrets_in([secret], *folders)]
