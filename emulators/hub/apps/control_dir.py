"""What the servers and the keeper of a root tell each other: files, so that any number of processes may take part.

root/run/keeper.lock        held by the process that runs the apps
root/run/asked/UID          somebody asks to look at this app again; says where it is kept
root/run/apps/UID/          status.json, build.log, run.log, and the app's own folders
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emulators import atomic_files

LogName = Literal["build", "run"]


class Stage:
    """How far an app is; the words are those of Spaces."""

    NO_APP_FILE = "NO_APP_FILE"
    CONFIG_ERROR = "CONFIG_ERROR"
    BUILDING = "BUILDING"
    RUNNING_BUILDING = "RUNNING_BUILDING"
    BUILD_ERROR = "BUILD_ERROR"
    APP_STARTING = "APP_STARTING"
    RUNNING = "RUNNING"
    RUNTIME_ERROR = "RUNTIME_ERROR"
    SLEEPING = "SLEEPING"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"


class Status(BaseModel):
    """What became of an app.

    `version` names the wish that it was made from, `address` is where people reach it (also while it sleeps), `message`
    says what went wrong.
    """

    model_config = ConfigDict(frozen=True)

    stage: str = Stage.STOPPED
    version: str = ""
    commit: str = ""
    address: str | None = None
    message: str | None = None
    since: datetime = Field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Asked:
    """A request to look at an app again; `place` says where its wish is kept: KIND/OWNER/NAME."""

    uid: str
    place: str


class Board:
    """The files below root/run."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "run"
        self._asked = self.folder / "asked"
        self._apps = self.folder / "apps"
        for folder in (self._asked, self._apps):
            folder.mkdir(parents=True, exist_ok=True)
        self._statuses: dict[str, tuple[tuple[int, int], Status]] = {}

    def ask(self, uid: str, place: str) -> None:
        """Let the keeper look at an app soon; harmless when there is none."""
        atomic_files.write_file(self._asked / uid, place.encode())

    def take_asked(self) -> list[Asked]:
        """The requests since the last call."""
        found = []
        for entry in sorted(os.scandir(self._asked), key=lambda e: e.name):
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            with contextlib.suppress(FileNotFoundError):
                place = path.read_text(encoding="utf-8")
                path.unlink()
                found.append(Asked(entry.name, place))
        return found

    def app_folder(self, uid: str) -> Path:
        """Where everything of an app lies."""
        return self._apps / uid

    def known(self) -> list[str]:
        """The uids of all apps that have a folder."""
        return [entry.name for entry in os.scandir(self._apps)]

    def status(self, uid: str) -> Status | None:
        """What the keeper last wrote about an app; none when it never saw it."""
        path = self.app_folder(uid) / "status.json"
        try:
            stat = path.stat()
            signature = (stat.st_ino, stat.st_mtime_ns)
            known = self._statuses.get(uid)
            if known is None or known[0] != signature:
                known = (signature, Status.model_validate_json(path.read_bytes()))
                self._statuses[uid] = known
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            self._statuses.pop(uid, None)
            return None
        return known[1]

    def write_status(self, uid: str, status: Status) -> None:
        """Tell everybody what became of an app."""
        folder = self.app_folder(uid)
        folder.mkdir(parents=True, exist_ok=True)
        atomic_files.write_file(folder / "status.json", status.model_dump_json(indent=1).encode())

    def log(self, uid: str, name: LogName) -> Path:
        """An app's log: lines of a time in UTC, a space and the text."""
        return self.app_folder(uid) / f"{name}.log"

    def is_kept(self) -> bool:
        """Whether some process runs apps. Without one, what the statuses say is what was, not what is."""
        with (self.folder / "keeper.lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @contextlib.contextmanager
    def keeping(self) -> Iterator[bool]:
        """Try to become the keeper; yields whether that worked. The lock goes with the process, however it ends."""
        with (self.folder / "keeper.lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
