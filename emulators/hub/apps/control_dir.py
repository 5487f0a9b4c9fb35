"""State that the servers and the supervisor of a root exchange through files, whatever their number.

root/run/supervisor.lock     held by the process that runs the apps
root/run/requests/UID        asks the supervisor to reconcile this app; its content is the app's key
root/run/apps/UID/           status.json, build.log, run.log, and the app's own folders
"""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emulators import atomic_files

LogName = Literal["build", "run"]


class Stage(StrEnum):
    """The stages of an app's life, in the words of Spaces; only endpoints are PENDING."""

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
    PENDING = "PENDING"


class Status(BaseModel):
    """An app's state as the supervisor last wrote it.

    `version` names the desired state that the app was made from; `address` is the app's URL, which it keeps while it
    sleeps; `message` says what went wrong.
    """

    model_config = ConfigDict(frozen=True)

    stage: Stage = Stage.STOPPED
    version: str = ""
    commit: str = ""
    address: str | None = None
    message: str | None = None
    since: datetime = Field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class ReconcileRequest:
    """A request to reconcile one app; `key` says where its desired state is kept: KIND/OWNER/NAME."""

    uid: str
    key: str


class ControlDir:
    """The files below root/run."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "run"
        self._requests = self.folder / "requests"
        self._apps = self.folder / "apps"
        for folder in (self._requests, self._apps):
            folder.mkdir(parents=True, exist_ok=True)
        self._statuses: dict[str, tuple[tuple[int, int], Status]] = {}

    def request_reconcile(self, uid: str, key: str) -> None:
        """Ask the supervisor to reconcile an app; without a supervisor nothing happens."""
        atomic_files.write_file(self._requests / uid, key.encode())

    def take_requests(self) -> list[ReconcileRequest]:
        """Remove and return the requests that arrived since the last call."""
        found = []
        for entry in sorted(os.scandir(self._requests), key=lambda e: e.name):
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            with contextlib.suppress(FileNotFoundError):
                key = path.read_text(encoding="utf-8")
                path.unlink()
                found.append(ReconcileRequest(entry.name, key))
        return found

    def app_folder(self, uid: str) -> Path:
        """Return the folder of everything that belongs to an app."""
        return self._apps / uid

    def known(self) -> list[str]:
        """Return the uids of all apps that have a folder."""
        return [entry.name for entry in os.scandir(self._apps)]

    def status(self, uid: str) -> Status | None:
        """Return what the supervisor last wrote about an app; none when it has not seen the app."""
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
        """Publish an app's status to every server of the root."""
        folder = self.app_folder(uid)
        folder.mkdir(parents=True, exist_ok=True)
        atomic_files.write_file(folder / "status.json", status.model_dump_json(indent=1).encode())

    def log(self, uid: str, name: LogName) -> Path:
        """Return the path of an app's log; its lines are a time in UTC, a space and the text."""
        return self.app_folder(uid) / f"{name}.log"

    def is_supervised(self) -> bool:
        """Whether some process runs the apps; without one the statuses describe the past."""
        return atomic_files.is_locked(self.folder / "supervisor.lock")

    def try_supervise(self) -> AbstractContextManager[bool]:
        """Try to hold the supervisor's lock while a block runs; yields whether that worked."""
        return atomic_files.try_locked(self.folder / "supervisor.lock")
