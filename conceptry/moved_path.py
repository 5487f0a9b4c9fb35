"""Paths inside a folder that was moved."""

from pathlib import Path


def moved_path(path: str, before: str, root: Path) -> str:
    """Return where a path is after a folder was moved from `before` to `root`.

    The folder may have been moved alone or with folders around it. A path that still exists, an address, and a path
    that was elsewhere are returned as they are.
    """
    if not before or not Path(path).is_absolute() or Path(path).exists():
        return path
    old, new = Path(before), root
    while old.name == new.name and old != old.parent:
        old, new = old.parent, new.parent
    if not Path(path).is_relative_to(old):
        return path
    found = new / Path(path).relative_to(old)
    return str(found) if found.exists() else path
