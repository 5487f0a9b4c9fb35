"""Where in a git repository the registry is: the whole repository, or one of its folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mirror:
    """Git repository, and the folder in it that holds the registry.

    Attributes:
        folder: The bare repository, or the `.git` of a clone.
        path: Folder with concepts/ in it, relative to the top, with /; empty or `.` for the top.
    """

    folder: Path
    path: str = ""

    @property
    def parents(self) -> tuple[str, ...]:
        """The registry's folder and those above it, each with / at its end, the top (empty) last."""
        names = [name for name in self.path.split("/") if name not in ("", ".")]
        return tuple("".join(f"{name}/" for name in names[:count]) for count in range(len(names), -1, -1))

    def place(self, path: str) -> str:
        """Return the path from the top of the repository, of a path that is relative to the registry's folder."""
        return f"{self.parents[0]}{path}"
