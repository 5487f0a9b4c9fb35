"""Lists of repos: the summary of each, filters, order and pages.

Listings are answered from memory: the summary of a repo's main branch is cached until that branch moves.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from operator import itemgetter
from typing import Any

from emulators.hub import cards, git_objects
from emulators.hub.git_objects import Entry
from emulators.hub.http_errors import bad_request
from emulators.hub.names import Kind, RepoId
from emulators.hub.storage import Repo

PAGE = 1000
SORTS = ("id", "createdAt", "lastModified", "likes", "downloads", "trendingScore")
# Likes and downloads are always 0 here, so these are orders by name.
_BY_NAME = ("id", "likes", "downloads", "trendingScore")
SortKey = tuple[str, str, str]  # a time or an empty string, then owner and name


@dataclass(frozen=True)
class Summary:
    """Card, files and time of a revision."""

    sha: str
    modified: datetime
    card: dict[str, Any] = field(default_factory=dict)
    files: tuple[Entry, ...] = ()

    @property
    def bytes(self) -> int:
        """Size of all files, in bytes."""
        return sum(entry.size for entry in self.files)


@dataclass(frozen=True)
class Listed:
    """A repo together with the summary of its main branch."""

    repo: Repo
    summary: Summary

    @cached_property
    def tags(self) -> list[str]:
        """The tags that the repo can be filtered by."""
        space = self.repo.settings.space
        return cards.tags(self.summary.card, space.sdk if space else None)


@dataclass(frozen=True)
class Query:
    """Filters, order and position of a listing."""

    author: str | None = None
    search: str | None = None
    filters: tuple[str, ...] = ()
    sort: str = "id"
    descending: bool = False
    limit: int = PAGE
    cursor: str | None = None

    @property
    def stored_order(self) -> bool:
        """Whether the order is the one that repos are stored in."""
        return self.sort in _BY_NAME and not self.descending

    @cached_property
    def last(self) -> SortKey | None:
        """The key after which the page begins; none for the first page.

        Raises:
            HubError: the cursor is malformed (400).
        """
        return _read_cursor(self.cursor) if self.cursor else None

    @property
    def after(self) -> tuple[str, str]:
        """Owner and name; in the order of names, the page contains nothing up to them."""
        return self.last[1:] if self.last and self.stored_order else ("", "")


@dataclass(frozen=True)
class Page:
    """A part of a listing; `cursor` leads to the next part, none after the last."""

    items: tuple[Listed, ...]
    cursor: str | None


class Summaries:
    """A cache of the summaries of main branches: one per repo, read once per commit."""

    def __init__(self) -> None:
        self._known: dict[str, Summary] = {}
        self._preloader = ThreadPoolExecutor(1, "summaries")

    def of(self, repo: Repo) -> Summary:
        """Return the summary of the repo's current main branch."""
        head = repo.head()
        known = self._known.get(repo.settings.uid)
        if known is None or known.sha != head:
            known = summarize(repo, head) if head else Summary("", repo.settings.created_at)
            self._known[repo.settings.uid] = known
        return known

    def preload(self, repos: Iterable[Repo]) -> None:
        """Read summaries in the background, so that the next listing finds them in the cache."""
        self._preloader.submit(self._preload, repos)

    def _preload(self, repos: Iterable[Repo]) -> None:
        for repo in repos:
            # A repo may be deleted meanwhile, or broken; the request that needs it reports that.
            with contextlib.suppress(Exception):
                self.of(repo)


def summarize(repo: Repo, commit: str) -> Summary:
    """Read the summary of a revision."""
    git = repo.git()
    files = tuple(entry for entry in git_objects.walk(git, commit, recursive=True) if not entry.folder)
    card = git_objects.read(git, commit, "README.md") or b""
    modified = datetime.fromtimestamp(git[commit].commit_time, UTC)
    return Summary(commit, modified, cards.parse(card.decode("utf-8", "replace")), files)


def select(repos: Iterable[Repo], summaries: Summaries, query: Query) -> Page:
    """Filter and sort repos, and return one page of them.

    The cursor holds the sort key of a page's last item, so that repos created or deleted between two pages cause no
    other repo to be skipped or repeated. Only the summaries of the page are read, so that a listing costs the same in
    many pages as in one.

    Args:
        repos: in the order of their names, as RepoStore.all returns them.
        summaries: the cache to read from.
        query: filters, order and position.

    Raises:
        HubError: the cursor is malformed (400).
    """
    search, last = (query.search or "").lower(), query.last
    keys: Iterable[tuple[SortKey, Repo]] = (
        (key, repo)
        for repo in repos
        if search in str(repo.id).lower()
        for key in [_sort_key(repo, summaries, query.sort)]
        if last is None or (key < last if query.descending else key > last)
    )
    if not query.stored_order:
        keys = sorted(keys, key=itemgetter(0), reverse=query.descending)
    wanted = ((key, item) for key, repo in keys if _matches(item := Listed(repo, summaries.of(repo)), query))
    page = list(islice(wanted, query.limit))
    more = next(wanted, None) is not None
    return Page(tuple(item for _, item in page), _write_cursor(page[-1][0]) if more else None)


def _matches(item: Listed, query: Query) -> bool:
    return all(tag in item.tags for tag in query.filters) and (
        query.author is None or item.repo.id.owner.lower() == query.author.lower()
    )


def _sort_key(repo: Repo, summaries: Summaries, sort: str) -> SortKey:
    owner, name = repo.id.owner.lower(), repo.id.name.lower()
    if sort == "createdAt":
        return timestamp(repo.settings.created_at), owner, name
    return timestamp(summaries.of(repo).modified) if sort == "lastModified" else "", owner, name


def _write_cursor(key: SortKey) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _read_cursor(cursor: str) -> SortKey:
    try:
        value, owner, name = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if isinstance(value, str) and isinstance(owner, str) and isinstance(name, str):
            return value, owner, name
    except (ValueError, binascii.Error, TypeError):
        pass
    raise bad_request("Invalid cursor")


def timestamp(when: datetime) -> str:
    """Format a time as the Hub does: ISO 8601 in UTC with milliseconds."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


def describe(item: Listed, fields: Sequence[str] | None, *, blobs: bool = False) -> dict[str, Any]:
    """Describe a repo as JSON, with all fields or the given ones; `blobs` adds sizes and digests of its files."""
    settings, summary, kind = item.repo.settings, item.summary, item.repo.id.kind
    name = str(item.repo.id)
    makers: dict[str, Any] = {
        "author": lambda: item.repo.id.owner,
        "sha": lambda: summary.sha,
        "lastModified": lambda: timestamp(summary.modified),
        "createdAt": lambda: timestamp(settings.created_at),
        "private": lambda: settings.private,
        "gated": lambda: settings.gated,
        "disabled": lambda: False,
        "likes": lambda: 0,
        "trendingScore": lambda: 0,
        "downloads": lambda: 0,
        "tags": lambda: item.tags,
        "cardData": lambda: summary.card,
        "usedStorage": lambda: summary.bytes,
        "siblings": lambda: [sibling(entry, blobs=blobs) for entry in summary.files],
    }
    if kind is Kind.MODEL:
        makers |= {
            "modelId": lambda: name,
            "pipeline_tag": lambda: _text(summary.card.get("pipeline_tag")),
            "library_name": lambda: _text(summary.card.get("library_name")),
            "config": dict,
        }
    if settings.space is not None:
        makers |= {
            "sdk": lambda: _text(summary.card.get("sdk")) or settings.space.sdk,
            "subdomain": lambda: subdomain(item.repo.id),
            "models": list,
            "datasets": list,
        }
    chosen = makers if fields is None else {key: makers[key] for key in fields if key in makers}
    described = {"_id": settings.uid, "id": name}
    return described | {key: value for key, make in chosen.items() if (value := make()) is not None}


def subdomain(repo: RepoId) -> str:
    """Return a Space's name as a host name's label."""
    return re.sub(r"[/_.]", "-", str(repo)).lower()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def sibling(entry: Entry, *, blobs: bool) -> dict[str, Any]:
    """Describe a file for a repo's info."""
    if not blobs:
        return {"rfilename": entry.path}
    described: dict[str, Any] = {"rfilename": entry.path, "blobId": entry.oid, "size": entry.size}
    if entry.lfs:
        described["lfs"] = {"sha256": entry.lfs.oid, "size": entry.lfs.size, "pointerSize": entry.lfs.length}
    return described
