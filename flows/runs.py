"""The folder of one training, `work/runs/FINGERPRINT`, and the lock that only one process at a time holds on it.

    images/ records/ output/ bundle/    what the steps made; each appears, whole, by a rename
    results/                            what Prefect remembers of the finished steps
    config.json trainer.log lock        kept when the rest is cleared away after publishing

The lock is an flock: the kernel lets go of it when the last process that holds it is dead, whatever killed it. The
trainer inherits it, so a retry never starts a second trainer beside one that is still ending. While it is held the file
names its holder; an orderly end empties it. So a lock that is free and names a run tells that this run was killed.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """Paths of one training's folder."""

    root: Path

    @classmethod
    def of(cls, work: Path, fingerprint: str) -> "RunFolder":
        """The folder of a fingerprint under the settings' scratch folder; it need not exist yet."""
        return cls((work / "runs" / fingerprint).absolute())

    @property
    def images(self) -> Path:
        """Verified pictures."""
        return self.root / "images"

    @property
    def records(self) -> Path:
        """TFRecords made of them."""
        return self.root / "records"

    @property
    def output(self) -> Path:
        """What the trainer made."""
        return self.root / "output"

    @property
    def bundle(self) -> Path:
        """What a version holds, ready to be published."""
        return self.root / "bundle"

    @property
    def results(self) -> Path:
        """Prefect's records of finished steps."""
        return self.root / "results"

    def lock(self, holder: str, on_wait: Callable[[], None] = lambda: None) -> AbstractContextManager[int]:
        """Hold this folder; yields the file descriptor to pass on to the trainer."""
        return hold(self.root / "lock", holder, on_wait)

    def abandoned_by(self, holder: str) -> bool:
        """Whether `holder` had this folder, on this machine, and was killed."""
        return abandoned(self.root / "lock", holder)

    def clear(self) -> None:
        """Remove what can be had again from the Hub, after everything is published."""
        for folder in (self.results, self.bundle, self.output, self.records, self.images):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def hold(path: Path, holder: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Hold the lock file at `path` as long as the block runs; `on_wait` is called once when it has to wait for it."""
    with try_hold(path, holder) as descriptor:
        if descriptor is not None:
            yield descriptor
            return
    on_wait()
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield from _held(descriptor, holder)
    finally:
        os.close(descriptor)


@contextmanager
def try_hold(path: Path, holder: str) -> Iterator[int | None]:
    """Hold the lock file at `path` if nobody does, else yield None at once."""
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield from _held(descriptor, holder)
    finally:
        os.close(descriptor)


@contextmanager
def slot(work: Path, places: int, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold one of the machine's places for training as long as the block runs.

    Prefect's own limits lose count when a server is stopped in the middle of a run; these are given back by the kernel.
    """
    waited = False
    while True:
        for place in range(places):
            with try_hold(work / "places" / f"{place}.lock", run_id()) as held:
                if held is not None:
                    yield
                    return
        if not waited:
            on_wait()
        waited = True
        time.sleep(1.0)


def abandoned(path: Path, holder: str) -> bool:
    """Whether `holder` held this lock and died without giving it back."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return file.read().decode(errors="replace") == holder


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _held(descriptor: int, holder: str) -> Iterator[int]:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, holder.encode(), 0)
    try:
        yield descriptor
    finally:
        os.ftruncate(descriptor, 0)


def run_id() -> str:
    """Name whoever holds a lock: the Prefect run, or the process when there is none."""
    from prefect.runtime import flow_run  # seconds to import, and a lock can do without

    return str(flow_run.id or f"process {os.getpid()}")
