"""Collections: named lists of repos, root/collections/ID.json."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from emulators.hub import disk
from emulators.hub.errors import HubError

ItemType = Literal["model", "dataset", "space", "paper", "collection", "bucket"]
Theme = Literal["orange", "blue", "green", "purple", "pink", "indigo"]


class Item(BaseModel):
    """A member of a collection: a repo by its name, or another collection by its slug."""

    model_config = ConfigDict(frozen=True)

    uid: str = Field(default_factory=lambda: secrets.token_hex(12))
    id: str = Field(min_length=1, max_length=300)
    type: ItemType
    note: str | None = Field(default=None, max_length=500)


class Collection(BaseModel):
    """A collection of an owner."""

    model_config = ConfigDict(frozen=True)

    uid: str = Field(default_factory=lambda: secrets.token_hex(12))
    owner: str
    title: str = Field(min_length=1, max_length=120)
    description: str | None = Field(default=None, max_length=500)
    private: bool = False
    theme: Theme = "orange"
    updated_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    items: tuple[Item, ...] = ()

    @property
    def slug(self) -> str:
        """Its name in addresses: what is found by it is the id at its end, so that old titles still lead here."""
        words = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")
        return f"{self.owner}/{words}-{self.uid}" if words else f"{self.owner}/{self.uid}"


class Collections:
    """All collections of a root."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "collections"
        self._folder.mkdir(exist_ok=True)

    def find(self, slug: str) -> Collection | None:
        """A collection by its slug, or by an earlier one."""
        match = re.search(r"(?:^|[/-])([0-9a-f]{24})$", slug)
        return self._read(self._folder / f"{match[1]}.json") if match else None

    @staticmethod
    def _read(path: Path) -> Collection | None:
        try:
            return Collection.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None

    def all(self) -> list[Collection]:
        """Every collection, the last changed first."""
        found = [one for path in self._folder.glob("[!.]*.json") if (one := self._read(path)) is not None]
        return sorted(found, key=lambda one: one.updated_at, reverse=True)

    def save(self, collection: Collection) -> None:
        """Keep a new collection."""
        disk.write_file(self._folder / f"{collection.uid}.json", collection.model_dump_json(indent=1).encode())

    def update(self, collection: Collection, change: Callable[[Collection], Collection]) -> Collection:
        """Change a collection as it is now. Raises HubError (404) when it is gone."""
        with disk.locked(self._folder / ".lock"):
            now = self._read(self._folder / f"{collection.uid}.json")
            if now is None:
                raise HubError(404, "Collection not found")
            changed = change(now).model_copy(update={"updated_at": datetime.now(UTC)})
            self.save(changed)
        return changed

    def delete(self, collection: Collection) -> None:
        """Forget a collection."""
        (self._folder / f"{collection.uid}.json").unlink(missing_ok=True)
