"""The user's working tree: its top folder, origin, branch and commit."""

from __future__ import annotations

from pathlib import Path

from conceptry.errors import SettingsError, TransientError
from conceptry.mirror import Mirror
from conceptry.settings import OriginSettings
from tasks.processes import run_to_end

BASE_MODEL = "conceptry.baseModel"
"""Setting in git's configuration of a clone: the base model that `conceptry new` proposes."""
# Seconds; git reads the working tree only.
_TIMEOUT = 60.0
_SPEC = "concept.yaml"


def find_top(start: Path) -> Path:
    """Return the registry's folder around `start`: the nearest one with .dvc or concepts, else the top of the clone.

    Raises:
        SettingsError: `start` is in no git repository.
    """
    folders = _within_clone(start)
    found = (one for one in folders if (one / ".dvc").is_dir() or any(one.glob(f"concepts/*/{_SPEC}")))
    return next(found, folders[-1])


def path_of(start: Path) -> str:
    """Return the registry's folder around `start`, relative to the top of the clone, with /; empty for the top.

    Raises:
        SettingsError: `start` is in no git repository.
    """
    path = find_top(start).relative_to(_within_clone(start)[-1]).as_posix()
    return "" if path == "." else path


def registry_path(chosen: OriginSettings, start: Path) -> str:
    """Return the registry's folder of a new set-up: that of the settings, else that around `start`.

    Raises:
        SettingsError: neither says it, because `start` is in no git repository.
    """
    if chosen.path is not None or chosen.repo is not None:
        return "" if chosen.path in (None, ".") else str(chosen.path)
    return path_of(start)


def clone_of(start: Path) -> Mirror:
    """Return the git repository of the working tree around `start`, with the registry's folder in it.

    Raises:
        SettingsError: `start` is in no git repository.
    """
    return Mirror(Path(_git(start, "rev-parse", "--absolute-git-dir") or start / ".git"), path_of(start))


def dvc_root(top: Path) -> Path | None:
    """Return the folder in which DVC is initialised, the registry's or one above it in the clone; None without DVC."""
    return next((folder for folder in _within_clone(top) if (folder / ".dvc").is_dir()), None)


def registries_below(top: Path) -> list[str]:
    """Return the folders some levels below `top` that have concepts, to be named to a user."""
    found = {spec.parents[2] for depth in (1, 2, 3) for spec in top.glob(f"{'*/' * depth}concepts/*/{_SPEC}")}
    return sorted(folder.relative_to(top).as_posix() for folder in found)


def _within_clone(start: Path) -> list[Path]:
    """Return `start` and the folders above it, up to the top of the clone.

    Raises:
        SettingsError: `start` is in no git repository.
    """
    folders = [start, *start.parents]
    for index, folder in enumerate(folders):
        if (folder / ".git").exists():
            return folders[: index + 1]
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
