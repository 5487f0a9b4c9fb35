"""Discussions and pull requests of a repo: discussions.json in its folder, written under the repo's lock."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from emulators.hub import disk
from emulators.hub.errors import HubError
from emulators.hub.storage import Repo

State = Literal["open", "closed", "merged", "draft"]
_MOST = 5000


class Event(BaseModel):
    """Something that happened in a discussion; `data` has the form that the client reads for its type."""

    id: str = Field(default_factory=lambda: secrets.token_hex(12))
    type: Literal["comment", "status-change", "commit", "title-change"]
    author: str
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    data: dict[str, Any]


class Discussion(BaseModel):
    """A discussion, or a pull request: then refs/pr/NUM has its commits."""

    num: int
    title: str
    status: State = "open"
    author: str
    is_pull_request: bool = False
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    merge_commit: str | None = None
    events: list[Event] = Field(default_factory=list)

    @property
    def ref(self) -> str:
        """Where a pull request's commits are."""
        return f"refs/pr/{self.num}"

    def add(self, event: Event) -> Event:
        """Append an event."""
        if len(self.events) >= _MOST:
            raise HubError(400, "This discussion is too long: open another one")
        self.events.append(event)
        return event

    def event(self, uid: str) -> Event:
        """Find a comment. Raises HubError (404) when there is none."""
        for event in self.events:
            if event.id == uid and event.type == "comment":
                return event
        raise HubError(404, "Comment not found")


_LIST = TypeAdapter(list[Discussion])


def _path(repo: Repo) -> Path:
    return repo.folder / "discussions.json"


def read(repo: Repo) -> list[Discussion]:
    """All discussions of a repo, oldest first."""
    try:
        return _LIST.validate_json(_path(repo).read_bytes())
    except FileNotFoundError:
        return []


def find(found: list[Discussion], num: int) -> Discussion:
    """One of them by its number. Raises HubError (404) when there is none."""
    for discussion in found:
        if discussion.num == num:
            return discussion
    raise HubError(404, "Discussion not found")


@contextlib.contextmanager
def changing(repo: Repo) -> Iterator[list[Discussion]]:
    """The discussions, written back when the block ends well. Call with the repo's lock held."""
    found = read(repo)
    yield found
    if len(found) > _MOST:
        raise HubError(400, "This repo has too many discussions")
    disk.write_file(_path(repo), _LIST.dump_json(found))


def next_number(found: list[Discussion], git: Any) -> int:
    """The number of the next discussion or pull request: they share one sequence."""
    refs = [ref.removeprefix("refs/pr/") for ref in git.references if ref.startswith("refs/pr/")]
    return max([*(int(ref) for ref in refs if ref.isdecimal()), *(d.num for d in found)], default=0) + 1


def comment(author: str, text: str) -> Event:
    """A comment, as it is first written."""
    now = datetime.now(UTC)
    latest = {"raw": text, "updatedAt": now.isoformat(), "author": {"name": author}}
    data = {"edited": False, "hidden": False, "latest": latest, "history": [], "numEdits": 0}
    return Event(type="comment", author=author, created_at=now, data=data)


def edit(event: Event, author: str, text: str) -> None:
    """Write another text into a comment; the old one stays in its history."""
    latest = {"raw": text, "updatedAt": datetime.now(UTC).isoformat(), "author": {"name": author}}
    history = [*event.data["history"], event.data["latest"]]
    event.data |= {"edited": True, "latest": latest, "history": history, "numEdits": len(history)}


def hide(event: Event, author: str) -> None:
    """Take a comment's text away for good."""
    latest = {"raw": "", "updatedAt": datetime.now(UTC).isoformat(), "author": {"name": author}}
    event.data |= {"hidden": True, "hiddenBy": author, "latest": latest, "history": []}
