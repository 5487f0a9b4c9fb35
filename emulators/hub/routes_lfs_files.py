"""The large files of a repo: listed over all its refs, and removed for good, from its history too."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulators.hub import commits, history, news
from emulators.hub.access import Call, endpoint
from emulators.hub.addresses import REPO
from emulators.hub.listing import timestamp
from emulators.hub.news import RefChange


class Deletions(BaseModel):
    """What is to go: by the ids that the listing gave."""

    sha: list[str] = Field(max_length=1000)
    rewriteHistory: bool = True  # noqa: N815 - the protocol's name


class BatchRequest(BaseModel):
    """POST lfs-files/batch."""

    deletions: Deletions


def listing(call: Call) -> Response:
    """GET lfs-files: each large file once, with a ref that has it."""
    repo = call.repo(write=True)
    git = repo.git()
    found: dict[str, dict[str, Any]] = {}
    refs = sorted(git.references, key=lambda ref: ref != "refs/heads/main")
    for ref in refs:
        commit = history.peel(git, ref)
        when = timestamp(history.log_entry(git[commit]).date)
        for entry in history.walk(git, commit, recursive=True):
            if entry.lfs is not None:
                described = {"fileOid": entry.lfs.oid, "filename": entry.path, "oid": entry.lfs.oid, "pushedAt": when}
                found.setdefault(entry.lfs.oid, described | {"ref": ref, "size": entry.lfs.size})
    return JSONResponse(list(found.values()))


def remove(call: Call) -> Response:
    """POST lfs-files/batch: the files leave every branch that has them, and with `rewriteHistory` its past as well."""
    repo, asked = call.repo(write=True), call.json(BatchRequest).deletions
    gone, changes = frozenset(asked.sha), []
    with repo.lock() as git:
        for ref in [r for r in git.references if r.startswith(("refs/heads/", "refs/pr/"))]:
            old = history.peel(git, ref)
            new = _without(git, old, gone) if asked.rewriteHistory else _dropped(call, git, old, gone)
            if new != old:
                commits.move_ref(git, ref, new)
                changes.append(RefChange(ref, old, new))
    if changes:
        news.content_changed(call, repo, *changes)
        call.hub.look_at(repo)
    return JSONResponse({"success": True})


def _paths(git: Any, commit: str, gone: frozenset[str]) -> list[str]:
    return [e.path for e in history.walk(git, commit, recursive=True) if e.lfs is not None and e.lfs.oid in gone]


def _dropped(call: Call, git: Any, head: str, gone: frozenset[str]) -> str:
    """A commit on top that no longer has the files."""
    paths = _paths(git, head, gone)
    if not paths:
        return head
    tree = commits.build_tree(git, head, [commits.Remove(path) for path in paths])
    return commits.commit_tree(git, tree, [head], "Delete large files", call.author())


def _without(git: Any, head: str, gone: frozenset[str]) -> str:
    """The same history as if the files had never been there; commits before the first of them keep their ids."""
    made: dict[str, str] = {}
    for entry in reversed(list(history.log(git, head))):
        old = git[entry.oid]
        parents = [made[str(parent)] for parent in old.parent_ids]
        paths = _paths(git, entry.oid, gone)
        if not paths and parents == [str(parent) for parent in old.parent_ids]:
            made[entry.oid] = entry.oid
            continue
        tree = commits.build_tree(git, entry.oid, [commits.Remove(path) for path in paths])
        made[entry.oid] = commits.copy_commit(git, old, tree, parents)
    return made[head]


ROUTES = [
    Route(f"{REPO}/lfs-files", endpoint(listing)),
    Route(f"{REPO}/lfs-files/batch", endpoint(remove), methods=["POST"]),
]
