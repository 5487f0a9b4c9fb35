"""Bare mirror of the repository: fetch it, and read it at one revision.

`mirror` runs the program git; the other functions read git objects with libgit2, at one revision, in one pass.
"""

from __future__ import annotations

import gc
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pygit2
from pydantic import SecretStr

from conceptry.bases import PATH as BASES
from conceptry.bases import BaseEntry, UnreadableBases
from conceptry.desired import LINK, SUBMODULE, ConceptSource, parse_bases, with_stage_output
from conceptry.errors import Problem, SettingsError, SpecError, TransientError
from conceptry.mirror import Mirror
from tasks.disk_full import DiskFullError, disk_errors
from tasks.git.git_program import run_git, without_login
from tasks.locks import hold
from tasks.mirror_objects import commit_at, entries, is_marked, look_up, open_mirror, same_refs, tip

CONCEPTS = "concepts"
SPEC = "concept.yaml"
IMAGES = "images.dvc"

# What is no content of this repository, by its mode in git.
_LINKS = {
    0o120000: LINK,
    0o160000: SUBMODULE,
}

# Seconds. The first fetch of a large repository takes minutes; a hung connection would never end.
FETCH_TIMEOUT = 600.0

# Configuration of a mirror. Objects stay in packs, whose checksums show damage: libgit2 1.9 never returns from a loose
# object that is cut short.
_PACKED = "unpackLimit = 1"

_DEPTH = 3
"""Folders below the top in which `find_registries` looks."""


@dataclass(frozen=True)
class Origin:
    """Address of the origin without a login, and the login for it."""

    address: str
    login: SecretStr | None


def mirror(url: str, folder: Path, *, login: SecretStr | None = None, timeout: float = FETCH_TIMEOUT) -> Path:
    """Fetch the branches and tags of the repository at `url` into the bare mirror `folder`, and return the folder.

    A lock file beside the folder admits one fetching process at a time. A damaged mirror is replaced by a new one.

    Args:
        url: Address of the origin.
        folder: Bare mirror; created if necessary.
        login: Login for an http(s) address, `USER:PASSWORD`; one in the address takes precedence.
        timeout: Seconds to wait for other processes, and then for git.

    Raises:
        SettingsError: `url` is not the address of a repository, or the origin refuses the login.
        TransientError: the origin cannot be reached, or another process holds the lock for longer than `timeout`.
    """
    address, login = without_login(url, login)
    address = _address(address)
    lock, holder = folder.with_name(f"{folder.name}.lock"), f"git fetch of process {os.getpid()}"
    with disk_errors(folder), hold(lock, holder, timeout=timeout):
        _fetch_or_start_again(Origin(address, login), folder, time.monotonic() + timeout)
    return folder


def head(mirror: Path, branch: str) -> str:
    """Return the commit that a branch of the mirror points to (40 hex digits).

    Raises:
        SettingsError: the branch does not exist. TransientError: the mirror is damaged.
    """
    repository = open_mirror(mirror)
    commit = tip(repository, branch)
    if commit is None:
        branches = ", ".join(sorted(repository.branches.local)) or "none, the repository is empty"
        raise SettingsError(
            f"the repository has no branch {branch!r}; its branches: {branches}", next_step="set CONCEPTRY_BRANCH"
        )
    return commit


def resolve(mirror: Path, revision: str) -> str:
    """Return the commit (40 hex digits) of a branch, a tag, or a commit id.

    Raises:
        SettingsError: the mirror does not have the revision. TransientError: the mirror is damaged.
    """
    return str(commit_at(open_mirror(mirror), revision).id)


def remote_head(url: str, branch: str, *, login: SecretStr | None = None, timeout: float = 30.0) -> str | None:
    """Return the commit that a branch of the origin points to, without a fetch; None if the branch does not exist.

    For an origin on this machine the refs are read directly, which takes less than a millisecond.

    Raises:
        SettingsError, TransientError: as `mirror`.
    """
    address, login = without_login(url, login)
    address = _address(address)
    if is_local(address):
        reference = open_mirror(Path(address)).references.get(f"refs/heads/{branch}")
        return None if reference is None else str(reference.peel(pygit2.Commit).id)
    arguments = ("ls-remote", "--heads", "--", address, f"refs/heads/{branch}")
    output = run_git(*arguments, timeout=timeout, address=address, login=login)
    return output.split()[0].decode() if output.strip() else None


def is_local(url: str) -> bool:
    """Whether an address is a folder on this machine."""
    return "://" not in url and ":" not in url.partition("/")[0]


def read_concepts(mirror: Mirror, revision: str) -> list[ConceptSource]:
    """Return the two files of every folder under concepts/ at a revision, sorted by name, without validation.

    Submodules and symbolic links are returned with a `problem`: a concept that became one was not removed from git.

    Raises:
        SettingsError: the mirror does not have the revision, or `mirror.path` is not in it.
        TransientError: the mirror is damaged.
    """
    repository = open_mirror(mirror.folder)
    commit = commit_at(repository, revision)
    concepts = look_up(repository, commit, mirror.place(CONCEPTS))
    if not isinstance(concepts, pygit2.Tree):
        _check_path(repository, commit, mirror.path, revision)
        return []
    return [
        read_source(mirror, repository, commit, entry) if isinstance(entry, pygit2.Tree) else _unread(entry)
        for entry in sorted(entries(repository, concepts), key=lambda entry: str(entry.name))
        if isinstance(entry, pygit2.Tree) or entry.filemode in _LINKS
    ]


def find_registries(mirror: Path, revision: str) -> list[str]:
    """Return the folders below the top that have concepts, to be named to a user; links are not followed.

    Raises:
        SettingsError: the mirror does not have the revision. TransientError: the mirror is damaged.
    """
    repository = open_mirror(mirror)
    found: list[str] = []
    below = [("", commit_at(repository, revision).tree)]
    for _ in range(_DEPTH):
        folders = [
            (f"{path}{entry.name}", entry)
            for path, tree in below
            for entry in entries(repository, tree)
            if isinstance(entry, pygit2.Tree)
        ]
        found += [path for path, tree in folders if _has_concepts(repository, tree)]
        below = [(f"{path}/", tree) for path, tree in folders]
    return sorted(found)


def _has_concepts(repository: Any, tree: Any) -> bool:
    concepts = look_up(repository, tree, CONCEPTS)
    return isinstance(concepts, pygit2.Tree) and any(
        look_up(repository, entry, SPEC) is not None
        for entry in entries(repository, concepts)
        if isinstance(entry, pygit2.Tree)
    )


def _check_path(repository: Any, commit: Any, path: str, revision: str) -> None:
    """Check that the registry's folder exists: a wrong one must not read as a registry without concepts."""
    if path not in ("", ".") and not isinstance(look_up(repository, commit, path), pygit2.Tree):
        raise SettingsError(
            f"the repository has no folder {path!r} at {revision[:8]}", next_step="correct CONCEPTRY_PATH"
        )


def read_file(mirror: Mirror, revision: str, path: str) -> bytes | None:
    """Return the content of one file at a revision; None if it does not exist.

    Args:
        mirror: The repository.
        revision: Commit, branch or tag.
        path: Path of the file, relative to the registry's folder.

    Raises:
        SpecError: the path is no file. SettingsError: the mirror does not have the revision.
        TransientError: the mirror is damaged.
    """
    repository = open_mirror(mirror.folder)
    entry = look_up(repository, commit_at(repository, revision), mirror.place(path))
    if entry is not None and (not isinstance(entry, pygit2.Blob) or _is_link(entry)):
        problem = _LINKS.get(entry.filemode, "is a folder; replace it by a file")
        raise SpecError([Problem(None, "", problem)], path)
    return None if entry is None else bytes(entry.data)


def read_bases(mirror: Mirror, revision: str) -> Mapping[str, BaseEntry]:
    """Return the entries of bases.yaml at a revision by name; with mistakes none, see `parse_bases`.

    Raises:
        SettingsError: the mirror does not have the revision. TransientError: the mirror is damaged.
    """
    try:
        data = read_file(mirror, revision, BASES)
    except SpecError as error:
        return UnreadableBases(error)
    return parse_bases(None if data is None else data.decode("utf-8", "surrogateescape"))


def _address(url: str) -> str:
    if not is_local(url):
        return url
    folder = Path(url).expanduser().absolute()
    if not url or not folder.is_dir():
        raise SettingsError(f"{url!r} is not a git repository", next_step="set CONCEPTRY_REPO to its URL or folder")
    return str(folder)


def _fetch_or_start_again(origin: Origin, folder: Path, deadline: float) -> None:
    existed = folder.exists()
    if not is_marked(folder):
        if is_local(origin.address) and _is_packed(folder) and same_refs(Path(origin.address), folder):
            return  # without starting git, which takes a tenth of a second
        try:
            _fetch(origin, folder, deadline)
            return
        except DiskFullError:
            raise
        except TransientError:
            if not existed or time.monotonic() > deadline:
                raise
    # The mirror itself may be damaged, for example by a process that was killed during a fetch. It stays in use until
    # a new one is complete.
    fresh, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("fresh", "old"))
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        _fetch(origin, fresh, deadline)
        folder.rename(old)
        fresh.rename(folder)
        # libgit2 shares open packs in a process by their path. A repository of pygit2 is part of a reference cycle.
        gc.collect()
    finally:
        for left in (fresh, old):
            shutil.rmtree(left, ignore_errors=True)


def _is_packed(folder: Path) -> bool:
    """Whether a mirror exists, and keeps its objects in packs."""
    config = folder / "config"
    return config.is_file() and _PACKED in config.read_text("utf-8", "replace")


def _fetch(origin: Origin, folder: Path, deadline: float) -> None:
    def git(*arguments: str) -> None:
        remaining = max(1.0, deadline - time.monotonic())
        run_git(*arguments, timeout=remaining, address=origin.address, login=origin.login, folder=folder)

    inside = f"--git-dir={folder}"
    if not (folder / "HEAD").is_file():
        git("init", "--quiet", "--bare", str(folder))
    if not _is_packed(folder):
        # An older release of Conceptry, or a new mirror.
        git(inside, "repack", "-a", "-d", "--quiet")
        git(inside, "config", "transfer.unpackLimit", "1")
    # gc runs in the foreground, so that it ends before the lock is released.
    foreground = ["-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false"]
    everything = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    # An origin may be a shallow clone, as CI services make them; its history then ends where the clone's does.
    options = ["--quiet", "--prune", "--no-tags", "--update-shallow"]
    git(inside, *foreground, "fetch", *options, "--", origin.address, *everything)


def read_source(mirror: Mirror, repository: Any, commit: Any, folder: Any) -> ConceptSource:
    """Return the two files of a concept's tree, and without images.dvc the stage of dvc.yaml that makes its images.

    Raises:
        TransientError: the mirror is damaged.
    """
    files = {name: look_up(repository, folder, name) for name in (SPEC, IMAGES)}
    links = (Problem(None, name, _LINKS[file.filemode]) for name, file in files.items() if file and _is_link(file))
    spec_text, images_dvc = map(_text, files.values())
    source = ConceptSource(folder.name, spec_text, images_dvc, next(links, None))
    return with_stage_output(source, lambda path: _text(look_up(repository, commit, mirror.place(path))))


def _unread(entry: Any) -> ConceptSource:
    return ConceptSource(entry.name, None, None, Problem(None, "", _LINKS[entry.filemode]))


def _is_link(entry: Any) -> bool:
    return entry.filemode in _LINKS


def _text(entry: Any) -> str | None:
    if not isinstance(entry, pygit2.Blob) or _is_link(entry):
        return None
    # Bytes that are not UTF-8 become surrogates, which the YAML parser reports with their line.
    return bytes(entry.data).decode("utf-8", errors="surrogateescape")
