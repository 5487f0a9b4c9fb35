"""Webhooks: who wants to hear of what, and the messages that wait to be delivered.

    root/webhooks/ACCOUNT/ID.json     one webhook
    root/outbox/TIME-ID.json          one message, written before the change that it tells of is answered

The postman delivers what lies in the outbox, so a message outlives the server that wrote it.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from emulators import atomic_files
from emulators.hub.names import Kind

Action = Literal["create", "delete", "move", "update"]


class Watched(BaseModel):
    """What a webhook listens to: everything of a user or an organization, or one repo."""

    model_config = ConfigDict(frozen=True)

    type: Literal["dataset", "model", "org", "space", "user", "bucket"]
    name: str = Field(min_length=1, max_length=200)

    def covers(self, kind: Kind, owner: str, name: str) -> bool:
        """Whether that repo is meant."""
        if self.type in ("user", "org"):
            return self.name.lower() == owner.lower()
        return self.type == kind.singular and self.name.lower() == f"{owner}/{name}".lower()


class Webhook(BaseModel):
    """A webhook of an account."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(default_factory=lambda: secrets.token_hex(12))
    owner: str
    url: str = Field(pattern=r"^https?://[^\s]+$", max_length=2000)
    watched: tuple[Watched, ...] = Field(min_length=1, max_length=100)
    domains: tuple[Literal["repo", "discussion"], ...] = ("repo", "discussion")
    secret: str | None = Field(default=None, max_length=1000, repr=False)
    disabled: bool = False


class Message(BaseModel):
    """A message on its way. `due` is the earliest time of the next attempt, in seconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    owner: str
    webhook: str
    payload: dict[str, Any]
    attempts: int = 0
    due: float = 0.0


class Webhooks:
    """All webhooks and the outbox of a root."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "webhooks"
        self.outbox = root / "outbox"
        for folder in (self._folder, self.outbox):
            folder.mkdir(parents=True, exist_ok=True)

    def _path(self, owner: str, uid: str) -> Path:
        return self._folder / owner.lower() / f"{uid}.json"

    def of(self, owner: str) -> list[Webhook]:
        """An account's webhooks."""
        paths = sorted((self._folder / owner.lower()).glob("[!.]*.json"))
        return [hook for path in paths if (hook := self._read(path)) is not None]

    def get(self, owner: str, uid: str) -> Webhook | None:
        """One webhook of an account. The id must have been checked: it becomes a path."""
        return self._read(self._path(owner, uid))

    @staticmethod
    def _read(path: Path) -> Webhook | None:
        try:
            return Webhook.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def save(self, hook: Webhook) -> None:
        """Keep a webhook."""
        path = self._path(hook.owner, hook.id)
        path.parent.mkdir(exist_ok=True)
        atomic_files.write_file(path, hook.model_dump_json(indent=1).encode())

    def delete(self, hook: Webhook) -> None:
        """Forget a webhook."""
        self._path(hook.owner, hook.id).unlink(missing_ok=True)

    def wanting(self, domain: str, kind: Kind, owner: str, name: str) -> Iterator[Webhook]:
        """The webhooks that listen to a repo."""
        for path in self._folder.glob("*/[!.]*.json"):
            hook = self._read(path)
            listens = hook is not None and not hook.disabled and domain in hook.domains
            if hook and listens and any(watched.covers(kind, owner, name) for watched in hook.watched):
                yield hook

    def post(self, hook: Webhook, payload: dict[str, Any]) -> None:
        """Put a message into the outbox; it is on disk when this returns."""
        payload = payload | {"webhook": {"id": hook.id, "version": 3}}
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.json"
        message = Message(owner=hook.owner, webhook=hook.id, payload=payload)
        atomic_files.write_file(self.outbox / name, message.model_dump_json().encode())

    def waiting(self) -> list[tuple[Path, Message]]:
        """The messages of the outbox, oldest first."""
        found = []
        for path in sorted(self.outbox.glob("[!.]*.json")):
            try:
                found.append((path, Message.model_validate_json(path.read_bytes())))
            except (FileNotFoundError, json.JSONDecodeError):
                continue
        return found
