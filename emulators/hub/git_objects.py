"""Read git: revisions, files, folders, commits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pygit2
from pygit2.enums import AttrCheck, ObjectType, SortMode

from emulators.hub.http_errors import entry_not_found, revision_not_found
from emulators.hub.names import is_ref

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,19})\n"
)
_MAX_POINTER = 1024


@dataclass(frozen=True)
class Pointer:
    """The content of an LFS pointer; `length` is the pointer's own length in bytes."""

    oid: str
    size: int
    length: int


@dataclass(frozen=True)
class Entry:
    """A file or folder at a revision. `size` is that of a download in bytes (of the object, for LFS files)."""

    path: str
    oid: str
    size: int = 0
    folder: bool = False
    lfs: Pointer | None = None


@dataclass(frozen=True)
class LogEntry:
    """A commit in a log."""

    oid: str
    title: str
    body: str
    author: str
    date: datetime


def parse_pointer(data: bytes) -> Pointer | None:
    """Parse an LFS pointer; none when the bytes are those of a regular file."""
    match = _POINTER.fullmatch(data) if len(data) <= _MAX_POINTER else None
    return Pointer(match[1].decode(), int(match[2]), len(data)) if match else None


def make_pointer(oid: str, size: int) -> bytes:
    """Return the pointer that git stores in place of a large file (git-lfs specification, version 1)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()


def resolve(git: Any, revision: str) -> str:
    """Return the commit of a branch, a tag, a full ref, or a commit id (abbreviated to at least 7 digits).

    Raises:
        HubError: there is no such revision (404, RevisionNotFound).
    """
    names = [f"refs/heads/{revision}", f"refs/tags/{revision}", *([revision] if revision.startswith("refs/") else [])]
    for name in names:
        if is_ref(name) and name in git.references:
            return peel(git, name)
    if re.fullmatch(r"[0-9a-f]{7,40}", revision):
        try:
            found = git[revision]
        except (KeyError, ValueError):
            raise revision_not_found(revision) from None
        if found.type == ObjectType.COMMIT:
            return str(found.id)
    raise revision_not_found(revision)


def peel(git: Any, ref: str) -> str:
    """Return the commit that a ref names, through annotated tags."""
    return str(git.references[ref].peel(ObjectType.COMMIT).id)


# Sizes by object id: an id names the same bytes forever, in every repo.
_measured: dict[str, tuple[int, Pointer | None]] = {}
_MAX_MEASURED = 200_000


def _measure(git: Any, oid: str) -> tuple[int, Pointer | None]:
    known = _measured.get(oid)
    if known is None:
        _, size = git.odb.read_header(pygit2.Oid(hex=oid))
        pointer = parse_pointer(git[oid].data) if size <= _MAX_POINTER else None
        known = (pointer.size, pointer) if pointer else (size, None)
        if len(_measured) >= _MAX_MEASURED:
            _measured.clear()
        _measured[oid] = known
    return known


def _entry(git: Any, path: str, item: Any) -> Entry:
    if item.type == ObjectType.TREE:
        return Entry(path, str(item.id), folder=True)
    size, pointer = _measure(git, str(item.id))
    return Entry(path, str(item.id), size, lfs=pointer)


def find(git: Any, commit: str, path: str) -> Entry | None:
    """Return the file or folder at a path, if there is one."""
    path = path.strip("/")
    tree = git[commit].tree
    if not path:
        return Entry("", str(tree.id), folder=True)
    if "\0" in path:
        return None
    try:
        item = tree[path]
    except (KeyError, ValueError):
        return None
    return _entry(git, path, item)


def find_file(git: Any, commit: str, path: str) -> Entry:
    """Return the file at a path.

    Raises:
        HubError: there is none (404, EntryNotFound).
    """
    entry = find(git, commit, path)
    if entry is None or entry.folder:
        raise entry_not_found(path)
    return entry


def read(git: Any, commit: str, path: str) -> bytes | None:
    """Return a file's bytes as git has them (of an LFS file the pointer); none when there is no file."""
    entry = find(git, commit, path)
    return None if entry is None or entry.folder else bytes(git[entry.oid].data)


def walk(git: Any, commit: str, path: str = "", *, recursive: bool = False) -> Iterator[Entry]:
    """Yield the entries below a folder, in git's order; a folder comes before its content.

    Raises:
        HubError: there is no such folder (404, EntryNotFound).
    """
    top = find(git, commit, path)
    if top is None or not top.folder:
        raise entry_not_found(path)
    stack = [(top.path, iter(git[top.oid]))]
    while stack:
        prefix, items = stack[-1]
        item = next(items, None)
        if item is None:
            stack.pop()
            continue
        entry = _entry(git, f"{prefix}/{item.name}" if prefix else item.name, item)
        yield entry
        if recursive and entry.folder:
            stack.append((entry.path, iter(git[entry.oid])))


def log(git: Any, commit: str) -> Iterator[LogEntry]:
    """Yield a commit and its ancestors, newest first."""
    for item in git.walk(pygit2.Oid(hex=commit), SortMode.TOPOLOGICAL | SortMode.TIME):
        yield log_entry(item)


def log_entry(item: Any) -> LogEntry:
    """Describe a commit object."""
    title, _, body = item.message.partition("\n")
    date = datetime.fromtimestamp(item.commit_time, UTC)
    return LogEntry(str(item.id), title, body.strip("\n"), item.author.name, date)


def last_changes(git: Any, commit: str, paths: set[str], limit: int = 2000) -> dict[str, LogEntry]:
    """Return the commit that last changed each path (along first parents, at most `limit` commits back)."""
    found: dict[str, LogEntry] = {}
    current, seen = git[commit], 0
    while current is not None and len(found) < len(paths) and seen < limit:
        parent = current.parents[0] if current.parents else None
        for path in paths - found.keys():
            before = _oid(parent, path) if parent is not None else None
            if _oid(current, path) != before:
                found[path] = log_entry(current)
        current, seen = parent, seen + 1
    return found


def _oid(commit: Any, path: str) -> Any:
    try:
        return commit.tree[path].id
    except (KeyError, ValueError):
        return None


def is_lfs_path(git: Any, commit: str, path: str) -> bool:
    """Whether .gitattributes of a commit sends a path to LFS, by git's own rules."""
    flags = AttrCheck.INDEX_ONLY | AttrCheck.NO_SYSTEM | AttrCheck.INCLUDE_COMMIT
    return bool(git.get_attr(path, "filter", flags, pygit2.Oid(hex=commit)) == "lfs")


@dataclass(frozen=True)
class FileChange:
    """A changed path; `status` is added, deleted, modified, renamed or changed."""

    path: str
    status: str


def changes(git: Any, commit: str, limit: int = 500) -> list[FileChange]:
    """Return the paths that a commit changed, compared with its first parent."""
    item = git[commit]
    tree = item.tree
    return _changes(item.parents[0].tree.diff_to_tree(tree) if item.parents else tree.diff_to_tree(swap=True), limit)


def changes_between(git: Any, old: str, new: str, limit: int = 500) -> list[FileChange]:
    """Return the paths that differ between two commits."""
    return _changes(git[old].tree.diff_to_tree(git[new].tree), limit)


def _changes(diff: Any, limit: int) -> list[FileChange]:
    names = {"A": "added", "D": "deleted", "M": "modified", "R": "renamed"}
    found = [FileChange(d.new_file.path, names.get(d.status_char(), "changed")) for d in diff.deltas]
    return found[:limit]
