"""The user's working tree: its top folder, origin, branch and commit."""

from __future__ import annotations

from pathlib import Path

from conceptry.errors import SettingsError, TransientError
from tasks.processes import run_to_end

BASE_MODEL = "conceptry.baseModel"
"""Setting in git's configuration of a clone: the base model that `conceptry new` proposes."""
# Seconds; git reads the working tree only.
_TIMEOUT = 60.0


def find_top(start: Path) -> Path:
    """Return the top of the git working tree around `start`.

    Raises:
        SettingsError: `start` is in no git repository.
    """
    for folder in (start, *start.parents):
        if (folder / ".git").exists():
            return folder
    raise SettingsError(
        f"{start} is in no git repository", next_step="change to your clone of the concepts' repository"
    )


def top_of(folder: Path) -> Path | None:
    """Return the top of the git working tree around a folder; None if there is none."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    return None if top is None else Path(top)


def has_origin(start: Path) -> bool:
    """Whether the working tree around `start` has an `origin`."""
    return _git(start, "remote", "get-url", "origin") is not None


def setting_of(folder: Path, name: str) -> str | None:
    """Return a value of git's configuration as it applies in a folder; None if it is not set."""
    return _git(folder, "config", "--get", name) if folder.is_dir() else None


def origin_of(start: Path) -> str:
    """Return the address of `origin` of the working tree around `start`; without an origin, the path of the tree.

    Raises:
        SettingsError: `start` is in no git repository.
    """
    top = _git(start, "rev-parse", "--show-toplevel")
    if top is None:
        next_step = "change to your repository, or set CONCEPTRY_REPO"
        raise SettingsError(f"{start} is in no git repository", next_step=next_step)
    address = _git(start, "remote", "get-url", "origin") or top
    local = Path(top, address)
    return str(local.resolve()) if "://" not in address and local.exists() else address


def branch_of(start: Path) -> str:
    """Return the branch that is checked out around `start`, else `main`."""
    return _git(start, "symbolic-ref", "--short", "HEAD") or "main"


def commit_of(start: Path) -> str | None:
    """Return the commit that is checked out around `start`; None if there is no commit yet."""
    return _git(start, "rev-parse", "HEAD")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = run_to_end(["git", "-C", str(folder), *arguments], timeout=_TIMEOUT)
    except TimeoutError as error:
        raise TransientError(f"git did not answer for {_TIMEOUT:.0f} s in {folder}") from error
    return done.stdout.decode(errors="replace").strip() or None if done.returncode == 0 else None
