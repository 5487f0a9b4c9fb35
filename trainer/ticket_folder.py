"""Folder by which runs ask one job on Vertex AI for trainings, and the job answers; runs see it as objects in a bucket.

    tickets/NUMBER-FINGERPRINT    written by a run: train this
    cancelled/TICKET              written by a run: do not
    begun/TICKET                  written by the job when it begins the training
    ended/TICKET                  written by the job when it has ended, however it did
    closed                        written by either: no further ticket is taken

Each file is written once, as a whole. The job trains in the order of the tickets' names. A ticket that is written
while the folder is being closed may be overlooked: whoever wrote it looks afterwards whether the folder is closed, and
if so cancels the ticket and asks elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

TICKETS, CANCELLED, BEGUN, ENDED, CLOSED = "tickets", "cancelled", "begun", "ended", "closed"


@dataclass(frozen=True)
class Wanted:
    """Content of a ticket.

    Attributes:
        home: Folder of the training, below that of all trainings: CONCEPT/FINGERPRINT.
        run: Id of the run that asks.
        vectors: Files with published vectors, below `home`, by the trainer's option for them.
    """

    home: str
    run: str
    vectors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Begun:
    """When the job began a training, and since when it had nothing else to do: both in ISO 8601.

    `free` is None for the first training of a job, which has also paid for the start of the machine.
    """

    at: str
    free: str | None


@dataclass(frozen=True)
class Ended:
    """How a training ended.

    Attributes:
        at: When, in ISO 8601.
        code: The trainer's exit code; negative or None if its process was killed.
        late: Whether it was stopped because it reached its limit of time.
        lines: The last lines that it printed, without its progress.
    """

    at: str
    code: int | None
    late: bool = False
    lines: tuple[str, ...] = ()


def dumps(content: Wanted | Begun | Ended) -> str:
    """Return a file's content."""
    return json.dumps(asdict(content))


def wanted(text: str | bytes) -> Wanted:
    """Parse a ticket.

    Raises:
        ValueError: It is not one, or leads out of the folder of all trainings.
    """
    ticket = Wanted(**_fields(text))
    for path in (ticket.home, *ticket.vectors.values()):
        if path.startswith("/") or ".." in Path(path).parts:
            raise ValueError(f"{path!r} leads elsewhere")
    return ticket


def begun(text: str | bytes) -> Begun:
    """Parse a file of begun/."""
    return Begun(**_fields(text))


def ended(text: str | bytes) -> Ended:
    """Parse a file of ended/."""
    read = _fields(text)
    return Ended(**{**read, "lines": tuple(read["lines"])})


def _fields(text: str | bytes) -> dict[str, Any]:
    read = json.loads(text)
    if not isinstance(read, dict):
        raise ValueError("not a JSON object")
    return read


@dataclass(frozen=True)
class TicketFolder:
    """The folder at `path`, as the job sees it."""

    path: Path

    def names(self, kind: str) -> list[str]:
        """Return the names of the files of a kind, in order."""
        # A listing is never out of date where the bucket is mounted; what is known of a single file may be.
        return sorted(path.name for path in self.path.glob(f"{kind}/*"))

    def is_closed(self) -> bool:
        """Whether no further ticket is taken."""
        return any(path.name == CLOSED for path in self.path.glob("*"))

    def open(self) -> list[str]:
        """Return the tickets that have not ended, in order."""
        done = set(self.names(ENDED))
        return [name for name in self.names(TICKETS) if name not in done]

    def read(self, kind: str, name: str) -> str:
        """Return the content of a file."""
        return (self.path / kind / name).read_text(encoding="utf-8")

    def write(self, kind: str, name: str, content: Begun | Ended) -> None:
        """Write a file."""
        folder = self.path / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dumps(content), encoding="utf-8")

    def close(self) -> None:
        """Take no further ticket."""
        (self.path / CLOSED).write_text("closed\n", encoding="utf-8")
