"""Folder of a set-up's servers: its settings file, its logs, and the lock of the process that serves it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from conceptry.errors import SettingsError
from tasks.file_io import write_atomically
from tasks.locks import is_held

_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class SettingsFolder:
    """Paths under one root; `root` is absolute. `FILE` names the settings file, which identifies the set-up."""

    root: Path
    FILE: ClassVar[str]

    @property
    def file(self) -> Path:
        """Settings file."""
        return self.root / self.FILE

    @property
    def logs(self) -> Path:
        """Folder of the servers' logs."""
        return self.root / "logs"

    @property
    def lock(self) -> Path:
        """Lock that the process holds that serves the set-up."""
        return self.root / "lock"

    def is_open(self) -> bool:
        """Whether a process serves the set-up, so that its ports are in use by it."""
        return is_held(self.lock)

    def exists(self) -> bool:
        """Whether there is a set-up in this folder."""
        return self.file.is_file()

    def load(self, make: Callable[..., _Settings], *, repair: str) -> _Settings:
        """Return the settings of the file.

        Args:
            make: Makes them of the keys and values.
            repair: What a user does about a file that cannot be read.

        Raises:
            SettingsError: it cannot be read.
        """
        try:
            return make(**tomllib.loads(self.file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as problem:  # no TOML, no UTF-8, other keys
            raise SettingsError(f"cannot be read: {problem}", file=str(self.file), next_step=repair) from problem

    def save(self, header: str, settings: Mapping[str, Any]) -> None:
        """Write the settings file with a comment above, readable by its owner only, because it contains secrets."""
        self.root.mkdir(parents=True, exist_ok=True)
        # The folder may be inside a clone; git must ignore all of it.
        (self.root / ".gitignore").write_text("*\n", encoding="utf-8")
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
        write_atomically(self.file, (f"# {header}\n" + "\n".join(lines) + "\n").encode(), mode=0o600)
