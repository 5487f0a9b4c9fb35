"""Webhooks, and the outbox of messages that wait for delivery (see webhook_delivery).

    root/webhooks/ACCOUNT/ID.json     one webhook
    root/outbox/TIME-ID.json          one message, written before the request that caused it is answered

A message in the outbox survives the server that wrote it.
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
    """What a webhook listens to: all repos of a user or an organization, or one repo."""

    model_config = ConfigDict(frozen=True)

    type: Literal["dataset", "model", "org", "space", "user", "bucket"]
    name: str = Field(min_length=1, max_length=200)

    def covers(self, kind: Kind, owner: str, name: str) -> bool:
        """Whether this includes a repo."""
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
    """An undelivered message. `due` is the earliest time of the next attempt, in seconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    owner: str
    webhook: str
    payload: dict[str, Any]
    attempts: int = 0
    due: float = 0.0


class Webhooks:
    """The webhooks and the outbox of a root."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "webhooks"
        self.outbox = root / "outbox"
        for folder in (self._folder, self.outbox):
            folder.mkdir(parents=True, exist_ok=True)

    def _path(self, owner: str, uid: str) -> Path:
        return self._folder / owner.lower() / f"{uid}.json"

    def of(self, owner: str) -> list[Webhook]:
        """Return an account's webhooks."""
        paths = sorted((self._folder / owner.lower()).glob("[!.]*.json"))
        return [hook for path in paths if (hook := self._read(path)) is not None]

    def get(self, owner: str, uid: str) -> Webhook | None:
        """Return one webhook of an account, if it exists. The caller has checked the id, since it becomes a path."""
        return self._read(self._path(owner, uid))

    @staticmethod
    def _read(path: Path) -> Webhook | None:
        try:
            return Webhook.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def save(self, hook: Webhook) -> None:
        """Store a webhook."""
        path = self._path(hook.owner, hook.id)
        path.parent.mkdir(exist_ok=True)
        atomic_files.write_file(path, hook.model_dump_json(indent=1).encode())

    def delete(self, hook: Webhook) -> None:
        """Delete a webhook."""
        self._path(hook.owner, hook.id).unlink(missing_ok=True)

    def listening_to(self, domain: str, kind: Kind, owner: str, name: str) -> Iterator[Webhook]:
        """Yield the enabled webhooks that listen to a domain of a repo."""
        for path in self._folder.glob("*/[!.]*.json"):
            hook = self._read(path)
            listens = hook is not None and not hook.disabled and domain in hook.domains
            if hook and listens and any(watched.covers(kind, owner, name) for watched in hook.watched):
                yield hook

    def enqueue(self, hook: Webhook, payload: dict[str, Any]) -> None:
        """Put a message into the outbox; it is synced to disk when this returns."""
        payload = payload | {"webhook": {"id": hook.id, "version": 3}}
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.json"
        message = Message(owner=hook.owner, webhook=hook.id, payload=payload)
        atomic_files.write_file(self.outbox / name, message.model_dump_json().encode())

    def pending(self) -> list[tuple[Path, Message]]:
        """Return the messages of the outbox, oldest first."""
        found = []
        for path in sorted(self.outbox.glob("[!.]*.json")):
            try:
                found.append((path, Message.model_validate_json(path.read_bytes())))
            except (FileNotFoundError, json.JSONDecodeError):
                continue
        return found
