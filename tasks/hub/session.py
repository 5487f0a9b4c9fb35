"""Session of one run with the Hub, which caches what it reads.

Refs are read once and updated by the session's own writes; files, listings and manifests are cached by commit, because
a commit is immutable. Another process may move a ref at any time: writers that depend on a ref compare it
(`parent_commit`, 409) and call `forget` to read it again. A session lives as long as one run and is shared by its
threads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_session, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import ModelInfo, SpaceInfo
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import hf_raise_for_status
from pydantic import ValidationError

from conceptry.errors import HubError
from conceptry.installation import HubTarget
from conceptry.version import Manifest
from tasks.hub.client import client
from tasks.hub.ownership import README, RESERVED, prove_ownership, reserving_card

T = TypeVar("T")
Kind = Literal["model", "space"]
MANIFEST = "concept.json"

_BRANCH = re.compile(r"v([1-9][0-9]*)")
_DELETED = re.compile(r"deleted-v([1-9][0-9]*)-([0-9a-f]{12})")
_MODEL_FIELDS: list[Any] = ["cardData", "private", "sha", "siblings"]
_SPACE_FIELDS: list[Any] = ["cardData", "private", "runtime", "sha", "siblings"]


@dataclass(frozen=True)
class Refs:
    """Branches and tags of a repo with the commits that they point at."""

    branches: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def versions(self) -> dict[int, str]:
        """Commit of each branch vN whose deletion has not begun, by number, in ascending order."""
        numbers = {int(match[1]): self.branches[match[0]] for match in map(_BRANCH.fullmatch, self.branches) if match}
        return {number: numbers[number] for number in sorted(numbers) if not self.is_deleted(numbers[number], number)}

    @property
    def deleted(self) -> dict[int, str]:
        """First 12 digits of the commit of each version whose deletion has begun, by number."""
        return {int(match[1]): match[2] for match in map(_DELETED.fullmatch, self.tags) if match}

    def is_deleted(self, commit: str, number: int | None = None) -> bool:
        """Whether the deletion of the version at a commit has begun; with `number`, of the one of that number."""
        deleted = self.deleted
        return commit[:12] in (deleted.values() if number is None else [deleted.get(number)])

    def number_at(self, commit: str) -> int | None:
        """Return the number of the version whose branch points at a commit; None if there is none."""
        return next((number for number, target in self.versions.items() if target == commit), None)

    @property
    def next_number(self) -> int:
        """The number after the highest one that was ever given."""
        return max([*self.versions, *self.deleted], default=0) + 1


class HubSession:
    """Cached access to the repos of one owner.

    Args:
        target: Hub and owner.
    """

    def __init__(self, target: HubTarget) -> None:
        self.target = target
        self.api: HfApi = client(target)
        self._refs: dict[tuple[str, Kind], Refs | None] = {}
        self._infos: dict[tuple[str, Kind], ModelInfo | SpaceInfo | None] = {}
        self._files: dict[tuple[str, Kind, str], frozenset[str]] = {}
        self._contents: dict[tuple[str, Kind, str, str], bytes | None] = {}
        self._proven: set[tuple[str, Kind]] = set()

    def forget(self, name: str, kind: Kind = "model") -> None:
        """Drop the cached refs and info of a repo, so that they are read again."""
        self._refs.pop((name, kind), None)
        self._infos.pop((name, kind), None)

    def refs(self, name: str, kind: Kind = "model") -> Refs | None:
        """Return a repo's branches and tags; None if the repo does not exist."""
        return _once(self._refs, (name, kind), lambda: self._read_refs(name, kind))

    def model(self, name: str) -> ModelInfo | None:
        """Return the Hub's info on a concept's model repo; None if it does not exist."""
        info = _once(self._infos, (name, "model"), lambda: self._read_info(name, "model"))
        return info if isinstance(info, ModelInfo) else None

    def space(self, name: str) -> SpaceInfo | None:
        """Return the Hub's info on a concept's Space; None if it does not exist."""
        info = _once(self._infos, (name, "space"), lambda: self._read_info(name, "space"))
        return info if isinstance(info, SpaceInfo) else None

    def files(self, name: str, commit: str, kind: Kind = "model") -> frozenset[str]:
        """Return the paths of all files at a commit."""
        info = self._infos.get((name, kind))
        if info is not None and info.sha == commit and info.siblings is not None:
            return frozenset(sibling.rfilename for sibling in info.siblings)
        repo = self.target.repo(name)
        return _once(
            self._files,
            (name, kind, commit),
            lambda: frozenset(self.api.list_repo_files(repo, revision=commit, repo_type=kind)),
        )

    def read(self, name: str, path: str, commit: str, kind: Kind = "model") -> bytes | None:
        """Return the content of one small file at a commit; None if it does not exist.

        Sends one GET; `hf_hub_download` of the client would send a HEAD before it and write a cache to disk.
        """
        return _once(self._contents, (name, kind, commit, path), lambda: self._read_file(name, path, commit, kind))

    def manifest(self, name: str, commit: str) -> Manifest | None:
        """Return the manifest, concept.json, at a commit; None if it does not exist.

        Raises:
            HubError: it cannot be parsed, so this release of Conceptry did not write it.
        """
        content = self.read(name, MANIFEST, commit)
        if content is None:
            return None
        try:
            return Manifest.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            what = f"{MANIFEST} of {self.target.repo(name)} at {commit[:10]} cannot be read"
            mistakes = f"({error.error_count()} mistakes): {where}: {first['msg'].removeprefix('Value error, ')}"
            next_step = "update Conceptry if a later release wrote it; else move the branch back, or delete it"
            raise HubError(f"{what} {mistakes}", next_step=next_step) from error

    def create_repo(self, name: str, kind: Kind = "model", *, private: bool = False) -> None:
        """Create a repo that `model` or `space` did not find, for this installation; do nothing if it exists by now."""
        sdk = "gradio" if kind == "space" else None
        try:
            self.api.create_repo(self.target.repo(name), repo_type=kind, space_sdk=sdk, private=private)
        except HfHubHTTPError as error:
            if error.response.status_code != 409:
                raise
            self.forget(name, kind)
            return
        self.forget(name, kind)
        self._proven.add((name, kind))
        if kind == "model" and self.target.installation:
            card = reserving_card(name, self.target.installation)
            self.commit(name, RESERVED, [CommitOperationAdd(README, card)])

    def trust(self, name: str, kind: Kind) -> None:
        """Allow writes to a repo that `conceptry adopt` takes over."""
        self._proven.add((name, kind))

    def prove(self, name: str, kind: Kind = "model") -> None:
        """Check that this installation may write to a repo, once per session; a repo that does not exist is free.

        Raises:
            NotOursError: the repo belongs to another installation, or to somebody else.
        """
        if (name, kind) not in self._proven:
            prove_ownership(self, name, kind)
            self._proven.add((name, kind))

    def commit(
        self,
        name: str,
        message: str,
        files: Sequence[CommitOperationAdd | CommitOperationDelete],
        *,
        kind: Kind = "model",
        branch: str = "main",
        parent: str | None = None,
    ) -> str:
        """Commit to a branch and return the commit; with `parent`, only if the branch still points at it (else 412).

        This and the other writes raise NotOursError for a repo that this installation must not write to.
        """
        self.prove(name, kind)
        done = self.api.create_commit(
            self.target.repo(name),
            list(files),
            commit_message=message,
            repo_type=kind,
            revision=branch,
            parent_commit=parent,
        )
        self._infos.pop((name, kind), None)
        self._update_refs(name, kind, lambda refs: refs.branches.__setitem__(branch, done.oid))
        return done.oid

    def create_branch(self, name: str, branch: str, commit: str, *, exist_ok: bool = False) -> None:
        """Create a branch at a commit."""
        self.prove(name)
        self.api.create_branch(self.target.repo(name), branch=branch, revision=commit, exist_ok=exist_ok)
        self._update_refs(name, "model", lambda refs: refs.branches.__setitem__(branch, commit))

    def delete_branch(self, name: str, branch: str) -> None:
        """Delete a branch; do nothing if it does not exist."""
        self.prove(name)
        _unless_gone(lambda: self.api.delete_branch(self.target.repo(name), branch=branch))
        self._update_refs(name, "model", lambda refs: refs.branches.pop(branch, None))

    def create_tag(self, name: str, tag: str, commit: str) -> None:
        """Create a tag at a commit; do nothing if it exists."""
        self.prove(name)
        self.api.create_tag(self.target.repo(name), tag=tag, revision=commit, exist_ok=True)
        self._update_refs(name, "model", lambda refs: refs.tags.__setitem__(tag, commit))

    def delete_tag(self, name: str, tag: str) -> None:
        """Delete a tag; do nothing if it does not exist."""
        self.prove(name)
        _unless_gone(lambda: self.api.delete_tag(self.target.repo(name), tag=tag))
        self._update_refs(name, "model", lambda refs: refs.tags.pop(tag, None))

    def _read_refs(self, name: str, kind: Kind) -> Refs | None:
        try:
            refs = self.api.list_repo_refs(self.target.repo(name), repo_type=kind)
        except RepositoryNotFoundError:
            return None
        return Refs(
            {branch.name: branch.target_commit for branch in refs.branches},
            {tag.name: tag.target_commit for tag in refs.tags},
        )

    def _read_info(self, name: str, kind: Kind) -> ModelInfo | SpaceInfo | None:
        repo = self.target.repo(name)
        try:
            if kind == "model":
                return self.api.model_info(repo, expand=_MODEL_FIELDS)
            return self.api.space_info(repo, expand=_SPACE_FIELDS)
        except RepositoryNotFoundError:
            return None

    def _read_file(self, name: str, path: str, commit: str, kind: Kind) -> bytes | None:
        url = hf_hub_url(self.target.repo(name), path, repo_type=kind, revision=commit, endpoint=self.target.endpoint)
        token = self.target.token.get_secret_value() if self.target.token else False
        response = get_session().get(url, headers=build_hf_headers(token=token), follow_redirects=True)
        try:
            hf_raise_for_status(response)
        except EntryNotFoundError:
            return None
        return bytes(response.content)

    def _update_refs(self, name: str, kind: Kind, change: Callable[[Refs], object]) -> None:
        """Apply a write of this session to the cached refs."""
        refs = self._refs.get((name, kind))
        if refs is not None:
            moved = Refs(dict(refs.branches), dict(refs.tags))
            change(moved)
            self._refs[name, kind] = moved


def _once(known: dict[Any, T], key: Any, read: Callable[[], T]) -> T:
    if key not in known:
        known[key] = read()
    return known[key]


def _unless_gone(delete: Callable[[], object]) -> None:
    try:
        delete()
    except HfHubHTTPError as error:
        if error.response.status_code != 404:
            raise
