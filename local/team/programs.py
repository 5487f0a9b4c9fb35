"""Programs of the system's packages that a team's set-up needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from conceptry.errors import SettingsError

PACKAGES = {
    "initdb": "postgresql", "postgres": "postgresql", "psql": "postgresql", "pg_isready": "postgresql",
    "pg_dump": "postgresql", "pg_restore": "postgresql", "nginx": "nginx", "git": "git",
}  # fmt: skip
"""Debian's package of each program."""
AS_ROOT = {"setpriv": "util-linux", "useradd": "passwd", "usermod": "passwd"}
"""Programs that only a set-up with users of its own needs."""

# Debian keeps PostgreSQL's servers off PATH, one folder a version, and nginx where only root's PATH leads.
_POSTGRES = Path("/usr/lib/postgresql")
_ALSO = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def program(name: str) -> Path | None:
    """Return the path of a program, of PostgreSQL's that of the newest version; None if it is not installed."""
    versions = sorted(_POSTGRES.glob("*/bin"), key=lambda path: int(path.parent.name.split(".")[0]), reverse=True)
    places = [*map(str, versions), os.environ.get("PATH", os.defpath), *_ALSO]
    found = shutil.which(name, path=os.pathsep.join(places))
    return None if found is None else Path(found)


def find_programs(names: Iterable[str]) -> dict[str, str]:
    """Return the paths of programs, by name.

    Raises:
        SettingsError: some are not installed; the message names all of them, and the packages.
    """
    found = {name: program(name) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        packages = sorted({(PACKAGES | AS_ROOT)[name] for name in missing})
        raise SettingsError(
            f"a team's set-up needs programs that are not installed: {', '.join(missing)}",
            next_step=f"`apt-get install {' '.join(packages)}`, or the packages of these names of your system",
        )
    return {name: str(path) for name, path in found.items()}
