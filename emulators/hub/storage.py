"""Repos on disk: bare git repos, each with its settings beside git's own files.

root/repos/{models,datasets,spaces}/owner/name.git     folders in lower case; hub.json has the spelling
root/lfs/                                              large files, shared between repos (see lfs)
root/tmp/                                              unfinished files, renamed into place when complete
root/moved/                                            redirects from old names of repos
root/secret                                            key of signed URLs and cookies
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pygit2
from pydantic import BaseModel, ConfigDict, Field

from emulators import atomic_files
from emulators.hub import commits
from emulators.hub.commits import Author, Put
from emulators.hub.http_errors import conflict, repo_not_found
from emulators.hub.names import Kind, RepoId, is_repo_name

MAIN = "refs/heads/main"


class SpaceSettings(BaseModel):
    """The settings of a Space. Clients cannot read its secrets back."""

    model_config = ConfigDict(frozen=True)

    sdk: str = "gradio"
    paused: bool = False
    # The number of restarts requested so far; restart number `fresh_at` installs the requirements anew.
    restarts: int = 0
    fresh_at: int = -1
    hardware: str = "cpu-basic"
    sleep_time: int | None = None
    secrets: Mapping[str, Mapping[str, str]] = Field(default_factory=dict, repr=False)
    variables: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)


class RepoSettings(BaseModel):
    """hub.json: the settings of a repo outside of git."""

    model_config = ConfigDict(frozen=True)

    owner: str
    name: str
    uid: str = Field(default_factory=lambda: secrets.token_hex(12))
    private: bool = False
    gated: Literal["auto", "manual", False] = False
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    space: SpaceSettings | None = None


@dataclass(frozen=True)
class Repo:
    """A repo, with its settings at the time of the look-up."""

    id: RepoId
    folder: Path
    settings: RepoSettings

    def git(self) -> Any:
        """Open the git repository; that is cheap, and threads must not share one."""
        return pygit2.Repository(str(self.folder))

    def head(self, ref: str = MAIN) -> str | None:
        """Return the commit that a ref names now, without opening the repo, since listings do this for every repo."""
        try:
            with open(f"{self.folder}/{ref}", encoding="ascii") as file:  # noqa: PTH123 - twice as fast
                return file.read().strip() or None
        except OSError:
            try:
                git = self.git()
            except pygit2.GitError:
                return None
            return str(git.references[ref].target) if ref in git.references else None

    @contextlib.contextmanager
    def lock(self) -> Iterator[Any]:
        """Exclude every other writer of any process while the block runs, and yield the opened git repository.

        Raises:
            HubError: the repo was deleted or moved meanwhile (404).
        """
        try:
            with atomic_files.locked(self.folder / "hub.lock") as still_here:
                if not still_here:
                    raise repo_not_found(anonymous=False)
                yield self.git()
        except FileNotFoundError:
            if self.folder.exists():
                raise
            raise repo_not_found(anonymous=False) from None


class RepoStore:
    """All repos of a root. Several processes may use the same root at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, tuple[tuple[int, int], Repo]] = {}
        for kind in Kind:
            (root / "repos" / kind.value).mkdir(parents=True, exist_ok=True)
        (root / "tmp").mkdir(exist_ok=True)
        atomic_files.sweep(root)

    def _folder(self, repo: RepoId) -> Path:
        return self.root / "repos" / f"{repo.key}.git"

    def get(self, repo: RepoId) -> Repo | None:
        """Return a repo if it exists; case is ignored."""
        return self._read(repo.kind, str(self._folder(repo)))

    def named(self, name: str, kind: Kind = Kind.MODEL) -> Repo | None:
        """Return the repo `owner/name` if it exists; none also for invalid names."""
        owner, _, rest = name.partition("/")
        return self.get(RepoId(kind, owner, rest)) if is_repo_name(owner) and is_repo_name(rest) else None

    def _read(self, kind: Kind, folder: str) -> Repo | None:
        # Strings instead of Path objects, since listings call this for every repo.
        try:
            stat = os.stat(f"{folder}/hub.json")  # noqa: PTH116
            # hub.json is replaced, never written in place, so a new inode or time means new settings.
            signature = (stat.st_ino, stat.st_mtime_ns)
            known = self._known.get(folder)
            if known is None or known[0] != signature:
                known = (signature, self._parse(kind, Path(folder)))
                self._known[folder] = known
        except (FileNotFoundError, NotADirectoryError):
            self._known.pop(folder, None)
            return None
        return known[1]

    def _parse(self, kind: Kind, folder: Path) -> Repo:
        settings = RepoSettings.model_validate_json((folder / "hub.json").read_bytes())
        repo = RepoId(kind, settings.owner, settings.name)
        if self._folder(repo) != folder:  # a move was killed half-way: the folder decides
            repo = RepoId(kind, folder.parent.name, folder.name.removesuffix(".git"))
        return Repo(repo, folder, settings)

    def all(self, kind: Kind, owner: str | None = None, after: tuple[str, str] = ("", "")) -> Iterator[Repo]:
        """Yield the repos of a kind, or one owner's, sorted by owner and name in lower case, after a given pair."""
        base = f"{self.root}/repos/{kind.value}"
        for folder in [owner.lower()] if owner else _names(base):
            names = [name.removesuffix(".git") for name in _names(f"{base}/{folder}")] if folder >= after[0] else []
            # Sorted again without the suffix: "a.git" comes after "a-b.git", but "a" before "a-b".
            for name in sorted(name for name in names if folder > after[0] or name > after[1]):
                if repo := self._read(kind, f"{base}/{folder}/{name}.git"):
                    yield repo

    def create(self, kind: Kind, settings: RepoSettings, files: Mapping[str, bytes], author: Author) -> Repo:
        """Create a repo with its first commit; it appears complete or not at all.

        Raises:
            HubError: the name is taken (409).
        """
        target = RepoId(kind, settings.owner, settings.name)
        draft = atomic_files.scratch(self.root, ".git")
        git = pygit2.init_repository(str(draft), bare=True, initial_head="main")
        try:
            for sample in ("hooks", "info"):
                shutil.rmtree(draft / sample)
            (draft / "description").unlink()
            puts = [Put(path, commits.write_blob(git, data)) for path, data in files.items()]
            tree = commits.build_tree(git, None, puts)
            commits.create_ref(git, MAIN, commits.commit_tree(git, tree, [], message="initial commit", author=author))
            (draft / "hub.lock").touch()
            atomic_files.write_file(draft / "hub.json", settings.model_dump_json(indent=1).encode())
            # libgit2 has synced the objects and the ref, but not these.
            atomic_files.sync(draft / "config", draft / "HEAD", draft / "objects", draft / "refs", draft)
            self._move_into_place(draft, target)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return Repo(target, self._folder(target), settings)

    def _move_into_place(self, source: Path, target: RepoId) -> None:
        folder = self._folder(target)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            source.rename(folder)  # fails on a folder that is not empty, so that one of two creators wins
        except OSError as error:
            if not folder.exists():
                raise
            raise conflict(f"A {target.kind.singular} repository called {target} already exists") from error
        atomic_files.sync(folder.parent)

    def update(self, repo: Repo, change: Callable[[RepoSettings], RepoSettings]) -> Repo:
        """Apply a change to the current settings of a repo, whatever they were at the look-up.

        Raises:
            HubError: the repo was deleted or moved meanwhile (404).
        """
        with repo.lock():
            current = self._read(repo.id.kind, str(repo.folder))
            if current is None:
                raise repo_not_found(anonymous=False)
            settings = change(current.settings)
            atomic_files.write_file(repo.folder / "hub.json", settings.model_dump_json(indent=1).encode())
        return Repo(repo.id, repo.folder, settings)

    def move(self, repo: Repo, owner: str, name: str) -> Repo:
        """Rename a repo or change its owner; its old name redirects.

        Raises:
            HubError: the new name is taken (409), or the repo was deleted meanwhile (404).
        """
        target = RepoId(repo.id.kind, owner, name)
        folder = self._folder(target)
        with repo.lock():
            current = self._read(repo.id.kind, str(repo.folder)) or repo
            settings = current.settings.model_copy(update={"owner": owner, "name": name})
            if folder != repo.folder:
                self._move_into_place(repo.folder, target)
            atomic_files.write_file(folder / "hub.json", settings.model_dump_json(indent=1).encode())
            if folder != repo.folder:
                redirect = self._redirect(repo.id)
                redirect.parent.mkdir(parents=True, exist_ok=True)
                atomic_files.write_file(redirect, target.key.encode())
        return Repo(target, folder, settings)

    def _redirect(self, repo: RepoId) -> Path:
        return self.root / "moved" / repo.key

    def moved(self, repo: RepoId) -> Repo | None:
        """Follow the redirects of an old name; none when they lead nowhere."""
        for _ in range(10):
            try:
                kind, owner, name = self._redirect(repo).read_text(encoding="utf-8").split("/")
            except (FileNotFoundError, NotADirectoryError):
                return None
            repo = RepoId(Kind(kind), owner, name)
            if (found := self.get(repo)) is not None:
                return found
        return None

    def delete(self, repo: Repo) -> None:
        """Delete a repo: it disappears at once, its files are removed afterwards.

        Raises:
            HubError: the repo was deleted or moved meanwhile (404).
        """
        trash = atomic_files.scratch(self.root, ".deleted")
        with repo.lock():
            repo.folder.rename(trash)
            atomic_files.sync(repo.folder.parent)
        shutil.rmtree(trash, ignore_errors=True)


def _names(folder: str) -> list[str]:
    """Return the sorted names in a folder, none if it is missing; strings for speed, see RepoStore._read."""
    try:
        return sorted(entry.name for entry in os.scandir(folder))
    except FileNotFoundError:
        return []
