"""Objects of the bare mirror, read with libgit2, which tell a missing path from a damaged mirror.

A damaged mirror gets a mark, and `tasks.git.mirror` clones it anew; until then no caller takes a lost object for a
concept that was removed from git.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pygit2

from conceptry.errors import SettingsError, TransientError

MARK = "conceptry-damaged"
"""File in a mirror that is to be cloned anew."""


def open_mirror(mirror: Path) -> Any:
    """Open the mirror with libgit2.

    Raises:
        SettingsError: the folder is not a mirror.
    """
    try:
        return pygit2.Repository(str(mirror), pygit2.enums.RepositoryOpenFlag.NO_SEARCH)
    except pygit2.GitError as error:
        raise SettingsError(f"{mirror} is not a mirror of the repository: {error}") from error


def tip(repository: Any, branch: str) -> str | None:
    """Return the commit (40 hex digits) that a branch points to; None if it does not exist.

    Raises:
        TransientError: the mirror lacks that commit.
    """
    try:
        reference = repository.references.get(f"refs/heads/{branch}")
        return None if reference is None else str(reference.peel(pygit2.Commit).id)
    except (ValueError, pygit2.GitError) as error:
        _report_damage(repository, error)


def commit_at(repository: Any, revision: str) -> Any:
    """Return the commit of a branch, a tag, or a commit id.

    Raises:
        SettingsError: the mirror does not have the revision. TransientError: the mirror is damaged.
    """
    try:
        return repository.revparse_single(revision).peel(pygit2.Commit)
    except (KeyError, ValueError, pygit2.GitError) as error:
        if not _has_tips(repository):
            _report_damage(repository, error)
        raise SettingsError(f"the repository has no revision {revision!r}", next_step="fetch it first") from error


def parent_of(repository: Any, commit: Any) -> Any:
    """Return the first parent of a commit; None if it has none.

    Raises:
        TransientError: the mirror lacks the parent.
    """
    try:
        return commit.parents[0] if commit.parent_ids else None
    except (KeyError, pygit2.GitError) as error:
        _report_damage(repository, error)


def look_up(repository: Any, tree: Any, path: str) -> Any:
    """Return the object at a path below a commit or tree; None if it does not exist.

    Raises:
        TransientError: the mirror lacks the object.
    """
    try:
        found = tree.peel(pygit2.Tree)[path]
        if isinstance(found, pygit2.Blob):
            _ = found.size  # reads the object
        return found
    except pygit2.GitError as error:  # also a KeyError where an object is missing
        _report_damage(repository, error)
    except KeyError:
        return None


def entries(repository: Any, tree: Any) -> list[Any]:
    """Return the objects in a tree.

    Raises:
        TransientError: the mirror lacks the tree.
    """
    try:
        return list(tree)
    except pygit2.GitError as error:
        _report_damage(repository, error)


def is_marked(mirror: Path) -> bool:
    """Whether the mirror was found damaged."""
    return (mirror / MARK).exists()


def same_refs(origin: Path, mirror: Path) -> bool:
    """Whether a mirror has the branches and tags of a repository on this machine, and their commits."""
    try:
        there, here = open_mirror(origin), open_mirror(mirror)
        return _refs(there) == _refs(here) and _has_tips(here)
    except (SettingsError, KeyError, ValueError, pygit2.GitError):
        return False


def _refs(repository: Any) -> dict[str, str]:
    names = [name for name in repository.references if name.startswith(("refs/heads/", "refs/tags/"))]
    return {name: str(repository.references[name].target) for name in names}


def _has_tips(repository: Any) -> bool:
    """Whether the mirror has the commits of all branches and tags."""
    try:
        return all(repository.get(repository.references[name].target) is not None for name in repository.references)
    except (KeyError, ValueError, pygit2.GitError):
        return False


def _report_damage(repository: Any, error: Exception) -> NoReturn:
    with suppress(OSError):
        Path(repository.path, MARK).touch()
    repository.free()  # closes its packs, which `tasks.git.mirror` replaces
    raise TransientError(
        f"the mirror {repository.path} is damaged: {error}", next_step="try again: it is then cloned anew"
    ) from error
