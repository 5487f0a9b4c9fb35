"""Folder of one training, `runs/FINGERPRINT` below the scratch folder, and its lock.

images/ records/ output/ bundle/    results of the tasks; each appears complete, by a rename
released/vN.safetensors             vectors of the released version, if there is one of the same base model
initial/NAME@vN.safetensors         vectors to start from, if concept.yaml names a version
results/                            Prefect's records of finished tasks
config.json trainer.log lock        kept when the rest is cleared after publishing
"""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tasks.locks import abandoned, hold, holder_of


class Archive(Protocol):
    """Copies of what finished steps made, which other machines can read; see `tasks.training.step_archive`."""

    def fetch(self, step: str, made: Path, record: Path) -> bool:
        """Restore the folder that a step made, and its record; return whether they were kept."""

    def keep(self, step: str, made: Path, record: Path) -> None:
        """Keep the folder that a step made, and its record."""

    def clear(self) -> None:
        """Delete all that is kept."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of one training's folder.

    Attributes:
        root: The folder.
        archive: Copies of what its steps made; None if only this machine has them.
    """

    root: Path
    archive: Archive | None = field(default=None, repr=False, compare=False)

    @property
    def images(self) -> Path:
        """Verified images."""
        return self.root / "images"

    @property
    def records(self) -> Path:
        """TFRecords of the images."""
        return self.root / "records"

    @property
    def released(self) -> Path:
        """Folder of the released version's vectors, with one file at most."""
        return self.root / "released"

    @property
    def initial(self) -> Path:
        """Folder of the vectors to start from, with one file at most."""
        return self.root / "initial"

    @property
    def output(self) -> Path:
        """Output of the trainer."""
        return self.root / "output"

    @property
    def bundle(self) -> Path:
        """Assembled version, ready to be published."""
        return self.root / "bundle"

    @property
    def results(self) -> Path:
        """Prefect's records of finished tasks."""
        return self.root / "results"

    def lock(self, holder: str, on_wait: Callable[[str], None] = lambda _: None) -> AbstractContextManager[int]:
        """Return a context that holds this folder's lock and yields its file descriptor, which the trainer inherits.

        It waits without limit, because another run may train for hours; `on_wait` is called with that run's name.
        """
        return hold(self.root / "lock", holder, on_wait, timeout=None)

    def holder(self) -> str | None:
        """Return the run that holds this folder's lock on this machine; None if it is free."""
        return holder_of(self.root / "lock")

    def abandoned_by(self, holder: str) -> bool:
        """Whether `holder` held this folder's lock on this machine and was killed."""
        return abandoned(self.root / "lock", holder)

    def clear(self) -> None:
        """Delete everything that is on the Hub after the version was published.

        Raises:
            TransientError, SettingsError: the archive cannot be cleared; the folder is.
        """
        fetched = (self.released, self.initial, self.records, self.images)
        for folder in (self.results, self.bundle, self.output, *fetched):
            shutil.rmtree(folder, ignore_errors=True)
        if self.archive is not None:
            self.archive.clear()
