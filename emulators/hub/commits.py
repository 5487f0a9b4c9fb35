"""Write git: make commits from lists of changes, and move refs while holding the repo's lock.

Objects are synced to disk before a ref names them, so a crash leaves at most unreferenced objects.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pygit2
from pygit2.enums import FileMode, Option

from emulators.hub.http_errors import conflict, entry_not_found

# libgit2 syncs every object and ref that it writes: what a 200 answer confirms is on disk.
pygit2.option(Option.ENABLE_FSYNC_GITDIR, True)


@dataclass(frozen=True)
class Put:
    """Write a file: `blob` is the git object id of its content, or of its LFS pointer."""

    path: str
    blob: str


@dataclass(frozen=True)
class Remove:
    """Delete a file, or a folder with its content."""

    path: str


Change = Put | Remove


@dataclass(frozen=True)
class Author:
    """The author of a commit; the Hub has no e-mail addresses."""

    name: str

    def signature(self) -> Any:
        """Return the git signature, with the current time."""
        return pygit2.Signature(self.name, f"{self.name}@users.noreply.hub.local")


def write_blob(git: Any, data: bytes) -> str:
    """Store bytes as a git object and return its id."""
    return str(git.create_blob(data))


def build_tree(git: Any, base: str | None, changes: Sequence[Change]) -> str:
    """Apply changes in order to the tree of a commit and return the id of the new tree.

    Raises:
        HubError: a deleted file or folder does not exist (404).
    """
    index = pygit2.Index()
    if base:
        index.read_tree(git[base].tree)
    for change in changes:
        if isinstance(change, Put):
            index.add(pygit2.IndexEntry(change.path, pygit2.Oid(hex=change.blob), FileMode.BLOB))
        else:
            _remove(index, change)
    return str(index.write_tree(git))


def _remove(index: Any, change: Remove) -> None:
    path = change.path.rstrip("/")
    inside = [] if path in index else [entry.path for entry in index if entry.path.startswith(f"{path}/")]
    if not inside and path not in index:
        raise entry_not_found(path)
    for name in inside or [path]:
        index.remove(name)


def commit_tree(git: Any, tree: str, parents: Sequence[str], *, message: str, author: Author) -> str:
    """Write a commit object, without moving a ref, and return its id."""
    who = author.signature()
    return str(git.create_commit(None, who, who, message, pygit2.Oid(hex=tree), [pygit2.Oid(hex=p) for p in parents]))


def create_ref(git: Any, ref: str, target: str) -> None:
    """Create a ref; the caller holds the repo's lock.

    Raises:
        HubError: the ref exists, or its name conflicts with another ref's (409).
    """
    if ref in git.references:
        raise conflict(f"Reference {ref} already exists")
    _clear_stale_locks(git, ref)
    try:
        git.references.create(ref, pygit2.Oid(hex=target))
    except (pygit2.GitError, ValueError, OSError) as error:
        # git cannot have the branches "a" and "a/b" at once.
        raise conflict(f"Reference {ref} cannot be created: {error}") from error


def move_ref(git: Any, ref: str, target: str) -> None:
    """Create or move a ref; the caller holds the repo's lock and has compared the old value."""
    _clear_stale_locks(git, ref)
    git.references.create(ref, pygit2.Oid(hex=target), force=True)


def delete_ref(git: Any, ref: str) -> None:
    """Delete a ref; the caller holds the repo's lock."""
    _clear_stale_locks(git, ref)
    git.references.delete(ref)


def _clear_stale_locks(git: Any, ref: str) -> None:
    # Every writer holds the repo's lock, so an existing git lock file was left by a killed process.
    for name in (f"{ref}.lock", "packed-refs.lock"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (Path(git.path) / name).unlink()
