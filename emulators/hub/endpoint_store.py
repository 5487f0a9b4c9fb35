"""The store of Inference Endpoints: one JSON file each, root/endpoints/NAMESPACE/NAME.json."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from emulators import atomic_files
from emulators.hub.http_errors import HubError

Wanted = Literal["running", "paused", "scaledToZero"]


class _Part(BaseModel):
    """A part of the API's bodies; unknown keys are stored and returned."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Scaling(_Part):
    """Number of replicas; the timeout is in minutes."""

    minReplica: int = Field(default=1, ge=0, le=50)  # noqa: N815 - the protocol's names
    maxReplica: int = Field(default=1, ge=1, le=50)  # noqa: N815
    scaleToZeroTimeout: int | None = Field(default=None, ge=1)  # noqa: N815

    @model_validator(mode="after")
    def _ordered(self) -> Scaling:
        if self.minReplica > self.maxReplica:
            raise ValueError("minReplica is greater than maxReplica")
        return self


class Compute(_Part):
    """The requested machine."""

    accelerator: str
    instanceSize: str  # noqa: N815
    instanceType: str  # noqa: N815
    scaling: Scaling = Field(default_factory=Scaling)


class Model(_Part):
    """The served model. Its secrets are never returned."""

    repository: str
    framework: str = "custom"
    revision: str | None = None
    task: str | None = None
    image: dict[str, Any] = Field(default_factory=lambda: {"huggingface": {}})
    env: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict, repr=False)


class Provider(_Part):
    """Vendor and region of the machine."""

    vendor: str
    region: str


class EndpointBody(_Part):
    """An endpoint as a client describes it."""

    name: str = Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$")
    type: Literal["public", "authenticated", "protected", "private"] = "authenticated"
    compute: Compute
    model: Model
    provider: Provider
    tags: list[str] = Field(default_factory=list)


class Endpoint(BaseModel):
    """An endpoint: its description, the commit that its revision named, and whether it must run now."""

    model_config = ConfigDict(frozen=True)

    uid: str = Field(default_factory=lambda: secrets.token_hex(12))
    namespace: str
    body: EndpointBody
    commit: str
    wanted: Wanted = "running"
    restarts: int = 0
    created_by: str
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    updated_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def key(self) -> str:
        """Its key in the control directory: KIND/OWNER/NAME."""
        return f"endpoints/{self.namespace}/{self.body.name}"


def not_found(name: str) -> HubError:
    """Return a 404: no endpoint has this name."""
    return HubError(404, f"Endpoint {name[:100]} not found")


class EndpointStore:
    """All endpoints of a root. Several processes may use the same root at once."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "endpoints"
        self._folder.mkdir(parents=True, exist_ok=True)

    def _path(self, namespace: str, name: str) -> Path:
        return self._folder / namespace.lower() / f"{name}.json"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with atomic_files.locked(self._folder / "lock"):
            yield

    def get(self, namespace: str, name: str) -> Endpoint | None:
        """Return an endpoint, if it exists. The caller has checked the names, since they become a path."""
        try:
            return Endpoint.model_validate_json(self._path(namespace, name).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def all(self, namespace: str | None = None) -> list[Endpoint]:
        """Return every endpoint, or those of one namespace, by name."""
        pattern = f"{namespace.lower()}/*.json" if namespace else "*/*.json"
        paths = [path for path in sorted(self._folder.glob(pattern)) if not path.name.startswith(".")]
        found = (self.get(path.parent.name, path.stem) for path in paths)
        return [endpoint for endpoint in found if endpoint is not None]

    def create(self, endpoint: Endpoint) -> None:
        """Store a new endpoint.

        Raises:
            HubError: the name is taken (409).
        """
        path = self._path(endpoint.namespace, endpoint.body.name)
        with self._locked():
            if path.exists():
                raise HubError(409, f"An endpoint named {endpoint.body.name} already exists in {endpoint.namespace}")
            self._write(path, endpoint)

    def update(self, namespace: str, name: str, change: Callable[[Endpoint], Endpoint]) -> Endpoint:
        """Apply a change to the current state of an endpoint.

        Raises:
            HubError: the endpoint does not exist any more (404).
        """
        with self._locked():
            now = self.get(namespace, name)
            if now is None:
                raise not_found(name)
            changed = change(now).model_copy(update={"updated_at": datetime.now(UTC)})
            self._write(self._path(namespace, name), changed)
        return changed

    def delete(self, namespace: str, name: str) -> None:
        """Delete an endpoint."""
        path = self._path(namespace, name)
        with self._locked():
            path.unlink(missing_ok=True)
            atomic_files.sync(path.parent)

    def _write(self, path: Path, endpoint: Endpoint) -> None:
        path.parent.mkdir(exist_ok=True)
        atomic_files.write_file(path, endpoint.model_dump_json(indent=1).encode())
