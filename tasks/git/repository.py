"""Bare mirror of the repository: fetch it, and read it at one revision.

`mirror` runs the program git, so that the user's keys, proxies and credential helpers apply. The other functions read
git objects with libgit2, at one revision, in one pass.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pygit2

from conceptry.desired import ConceptSource
from conceptry.errors import SettingsError, TransientError
from tasks.locks import hold
from tasks.processes import child_environment

CONCEPTS = "concepts"
SPEC = "concept.yaml"
IMAGES = "images.dvc"

# Seconds. The first fetch of a large repository takes minutes; a hung connection would never end.
FETCH_TIMEOUT = 600.0

# Variables that git sets while it runs a hook; they would direct our commands to another repository.
_HOOK_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")

# User name and token in an address.
_SECRET = re.compile(r"://[^/@\s]+@")


def mirror(url: str, folder: Path, *, timeout: float = FETCH_TIMEOUT) -> Path:
    """Fetch the branches and tags of the repository at `url` into the bare mirror `folder`, and return the folder.

    A lock file beside the folder admits one fetching process at a time.

    Raises:
        SettingsError: `url` is not the address of a repository.
        TransientError: the origin cannot be reached, or another process holds the lock for longer than `timeout`.
    """
    url = _address(url)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with hold(folder.with_name(f"{folder.name}.lock"), "git fetch", timeout=timeout):
            _fetch_or_start_again(url, folder, timeout)
    except TimeoutError as error:
        raise TransientError(f"another process has been fetching the repository for {timeout:.0f} s") from error
    return folder


def head(mirror: Path, branch: str) -> str:
    """Return the commit that a branch of the mirror points to (40 hex digits).

    Raises:
        SettingsError: the branch does not exist.
    """
    repository = open_mirror(mirror)
    reference = repository.references.get(f"refs/heads/{branch}")
    if reference is None:
        branches = ", ".join(sorted(repository.branches.local)) or "none, the repository is empty"
        raise SettingsError(
            f"the repository has no branch {branch!r}; its branches: {branches}", next_step="set CONCEPTRY_BRANCH"
        )
    return str(reference.peel(pygit2.Commit).id)


def resolve(mirror: Path, revision: str) -> str:
    """Return the commit (40 hex digits) of a branch, a tag, or a commit id.

    Raises:
        SettingsError: the mirror does not have the revision.
    """
    try:
        return str(open_mirror(mirror).revparse_single(revision).peel(pygit2.Commit).id)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise SettingsError(f"the repository has no revision {revision!r}", next_step="fetch it first") from error


def remote_head(url: str, branch: str, *, timeout: float = 30.0) -> str | None:
    """Return the commit that a branch of the origin points to, without a fetch; None if the branch does not exist.

    For an origin on this machine the refs are read directly, which takes less than a millisecond.

    Raises:
        SettingsError, TransientError: as `mirror`.
    """
    if is_local(url):
        reference = open_mirror(Path(_address(url))).references.get(f"refs/heads/{branch}")
        return None if reference is None else str(reference.peel(pygit2.Commit).id)
    output = _git("ls-remote", "--heads", "--", _address(url), f"refs/heads/{branch}", timeout=timeout)
    return output.split()[0].decode() if output.strip() else None


def is_local(url: str) -> bool:
    """Whether an address is a folder on this machine."""
    return "://" not in url and ":" not in url.partition("/")[0]


def read_concepts(mirror: Path, revision: str) -> list[ConceptSource]:
    """Return the two files of every folder under concepts/ at a revision, sorted by name, without validation.

    Raises:
        SettingsError: the mirror does not have the revision.
    """
    repository = open_mirror(mirror)
    concepts = look_up(_tree(repository, revision), CONCEPTS)
    if not isinstance(concepts, pygit2.Tree):
        return []
    return [
        read_source(entry)
        for entry in sorted(concepts, key=lambda entry: str(entry.name))
        if isinstance(entry, pygit2.Tree)
    ]


def read_file(mirror: Path, revision: str, path: str) -> bytes | None:
    """Return the content of one file at a revision; None if it does not exist.

    Raises:
        SettingsError: the mirror does not have the revision.
    """
    entry = look_up(_tree(open_mirror(mirror), revision), path)
    return bytes(entry.data) if isinstance(entry, pygit2.Blob) else None


def _address(url: str) -> str:
    if not is_local(url):
        return url
    folder = Path(url).expanduser().absolute()
    if not url or not folder.is_dir():
        raise SettingsError(f"{url!r} is not a git repository", next_step="set CONCEPTRY_REPO to its URL or folder")
    return str(folder)


def _fetch_or_start_again(url: str, folder: Path, timeout: float) -> None:
    existed = folder.exists()
    try:
        _fetch(url, folder, timeout)
    except TransientError:
        if not existed:
            raise
        # The mirror itself may be damaged: a process that was killed during a fetch leaves git's lock files behind.
        fresh = folder.with_name(f".{folder.name}.fresh")
        shutil.rmtree(fresh, ignore_errors=True)
        _fetch(url, fresh, timeout)
        shutil.rmtree(folder)
        fresh.rename(folder)


def _fetch(url: str, folder: Path, timeout: float) -> None:
    if not (folder / "HEAD").is_file():
        _git("init", "--quiet", "--bare", str(folder), timeout=timeout)
    # gc runs in the foreground, so that it ends before the lock is released.
    foreground = ["-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false"]
    everything = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    _git(
        f"--git-dir={folder}", *foreground, "fetch", "--quiet", "--prune", "--no-tags", "--", url, *everything,
        timeout=timeout,
    )  # fmt: skip


def _git(*arguments: str, timeout: float) -> bytes:
    # No terminal is available for a password prompt.
    environment = child_environment(without=_HOOK_VARIABLES, GIT_TERMINAL_PROMPT="0", LC_ALL="C.UTF-8")
    try:
        done = subprocess.run(
            ["git", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=timeout,
        )
        return done.stdout
    except FileNotFoundError as error:
        raise SettingsError("git is not installed", next_step="install it") from error
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"git did not answer for {timeout:.0f} s") from error
    except subprocess.CalledProcessError as error:
        # git has one exit code for all failures, so a wrong address is retried as well before it is reported.
        message = error.stderr.decode(errors="replace").strip() or f"exit code {error.returncode}"
        message = _SECRET.sub("://***@", message)
        raise TransientError(
            f"git could not fetch the repository: {message}", next_step="check CONCEPTRY_REPO if this persists"
        ) from error


def read_source(folder: Any) -> ConceptSource:
    """Return the two files of a concept's tree."""
    return ConceptSource(name=folder.name, spec_text=_text(folder, SPEC), images_dvc=_text(folder, IMAGES))


def open_mirror(mirror: Path) -> Any:
    """Open the mirror with libgit2.

    Raises:
        SettingsError: the folder is not a mirror.
    """
    try:
        return pygit2.Repository(str(mirror), pygit2.enums.RepositoryOpenFlag.NO_SEARCH)
    except pygit2.GitError as error:
        raise SettingsError(f"{mirror} is not a mirror of the repository: {error}") from error


def _tree(repository: Any, revision: str) -> Any:
    try:
        return repository.revparse_single(revision).peel(pygit2.Tree)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise SettingsError(f"the repository has no revision {revision!r}", next_step="fetch it first") from error


def look_up(tree: Any, path: str) -> Any:
    """Return the object at a path below a tree; None if it does not exist."""
    try:
        return tree[path]
    except KeyError:
        return None


def _text(folder: Any, name: str) -> str | None:
    entry = look_up(folder, name)
    if not isinstance(entry, pygit2.Blob):
        return None
    # Bytes that are not UTF-8 become surrogates, which the YAML parser reports with their line.
    return bytes(entry.data).decode("utf-8", errors="surrogateescape")
