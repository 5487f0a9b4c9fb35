"""Results of finished steps of a training, in a folder that all workers share: a retry elsewhere goes on from them.

    FOLDER/INSTALLATION/NAME/FINGERPRINT/STEP.tar    the folder that a step made, and its record

As `tasks.training.step_archive` does with a bucket: a file appears complete or not at all and is never changed.
New folders get the mode of FOLDER, so that workers that run as several users of one group can use each other's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from tasks.training.step_files import pack, unpack


class FolderArchive:
    """Results of one training in a shared folder.

    Args:
        folder: The shared folder, which exists.
        place: Id of the installation, name of the concept, and fingerprint.
    """

    def __init__(self, folder: Path, place: tuple[str, str, str]) -> None:
        self._folder, self._place = folder, folder.joinpath(*place)

    def fetch(self, step: str, made: Path, record: Path) -> bool:
        """Restore the folder that a step made, and its record; return whether they were kept."""
        packed = self._place / f"{step}.tar"
        if not packed.is_file():
            return False
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{step}.", dir=made.parent) as scratch:
            unpack(packed, Path(scratch), made, record)
        return True

    def keep(self, step: str, made: Path, record: Path) -> None:
        """Copy the folder that a step made, and its record, unless they are kept already."""
        packed = self._place / f"{step}.tar"
        if packed.exists():
            return
        self._make_place()
        handle, name = tempfile.mkstemp(prefix=f".{step}.", dir=self._place)
        os.close(handle)
        try:
            pack(Path(name), made, record)
            Path(name).chmod(0o660)
            Path(name).replace(packed)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def clear(self) -> None:
        """Delete all that is kept of this training."""
        shutil.rmtree(self._place, ignore_errors=True)

    def _make_place(self) -> None:
        mode = self._folder.stat().st_mode & 0o7777
        for path in reversed([self._place, *self._place.parents]):
            if path.is_relative_to(self._folder) and not path.exists():
                with suppress(FileExistsError):  # another worker was faster
                    path.mkdir()
                    path.chmod(mode)


def clean_folder(
    folder: Path, installation: str, needed: Collection[str], *, before: datetime, delete: bool
) -> dict[str, int]:
    """Find, and with `delete` remove, results of an installation's trainings that no run needs.

    Args:
        folder: The shared folder.
        installation: Id of the installation.
        needed: Fingerprints of trainings that run.
        before: Keep those of which any file was written later.
        delete: Delete them; otherwise only list them.

    Returns:
        The bytes of each training that may be deleted, by its folder.
    """
    found: dict[str, int] = {}
    for place in sorted((folder / installation).glob("*/*")):
        files = [path.stat() for path in place.iterdir()] if place.name not in needed else []
        if files and max(file.st_mtime for file in files) <= before.timestamp():
            found[str(place)] = sum(file.st_size for file in files)
            if delete:
                shutil.rmtree(place, ignore_errors=True)
    return found
