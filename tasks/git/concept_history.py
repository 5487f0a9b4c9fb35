"""History of a concept in git: the commits of the branch that changed its folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pygit2

from conceptry.desired import ConceptSource
from conceptry.mirror import Mirror
from tasks.git.repository import CONCEPTS, read_source
from tasks.mirror_objects import commit_at, look_up, open_mirror, parent_of


@dataclass(frozen=True)
class Edit:
    """Commit that changed a concept's folder; `source` is its content afterwards, None if it was removed.

    `when` is the time of the commit, in UTC, `summary` the first line of its message.
    """

    commit: str
    when: datetime
    author: str
    summary: str
    source: ConceptSource | None


def edits(mirror: Mirror, revision: str, name: str, since: datetime | None = None) -> Iterator[Edit]:
    """Yield the commits that changed a concept, the newest first, along first parents.

    Args:
        mirror: The repository.
        revision: Commit to start at.
        name: Name of the concept.
        since: Stop after the first older edit, which holds the desired state at this moment; None yields all.

    Raises:
        SettingsError: the mirror does not have the revision. TransientError: the mirror is damaged.
    """
    repository = open_mirror(mirror.folder)
    commit = commit_at(repository, revision)
    while commit is not None:
        parent = parent_of(repository, commit)
        folder, before = _folder(mirror, repository, commit, name), _folder(mirror, repository, parent, name)
        if _id(folder) != _id(before):
            when = datetime.fromtimestamp(commit.commit_time, UTC)
            source = read_source(mirror, repository, commit, folder) if folder is not None else None
            summary = commit.message.partition("\n")[0]
            yield Edit(str(commit.id), when, commit.author.name, summary, source)
            if since is not None and when < since:
                return
        commit = parent


def _folder(mirror: Mirror, repository: Any, commit: Any, name: str) -> Any:
    if commit is None:
        return None
    concepts = look_up(repository, commit, mirror.place(CONCEPTS))
    folder = look_up(repository, concepts, name) if isinstance(concepts, pygit2.Tree) else None
    return folder if isinstance(folder, pygit2.Tree) else None


def _id(folder: Any) -> str | None:
    return None if folder is None else str(folder.id)
