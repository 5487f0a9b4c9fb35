"""Files: folder listings, information about paths, and downloads."""

from __future__ import annotations

from itertools import islice
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulators.hub import git_objects
from emulators.hub.context import Call, endpoint, identify
from emulators.hub.download import FileToSend, send_file
from emulators.hub.git_objects import Entry, LogEntry
from emulators.hub.http_errors import HubError, bad_request, entry_not_found
from emulators.hub.repo_listing import timestamp
from emulators.hub.url_patterns import REPO, REPO_FILES

_TREE_PAGE = 1000
_COMMIT_HEADER = "X-Repo-Commit"


class PathsRequest(BaseModel):
    """Body of POST paths-info/REVISION."""

    paths: list[str] = Field(default_factory=list, max_length=10_000)
    expand: bool = False


def tree(call: Call) -> Response:
    """Answer GET tree/REVISION[/PATH]: one page of the entries below a folder."""
    repo = call.repo()
    git = repo.git()
    commit = git_objects.resolve(git, call.params["revision"])
    path, cursor = call.params.get("path", ""), call.query.get("cursor", "0")
    if not cursor.isdecimal() or len(cursor) > 9:
        raise bad_request("Invalid cursor")
    start = int(cursor)
    walk = git_objects.walk(git, commit, path, recursive=call.flag("recursive"))
    entries = list(islice(walk, start, start + _TREE_PAGE + 1))
    headers = {}
    if len(entries) > _TREE_PAGE:
        again = [(k, v) for k, v in call.request.query_params.multi_items() if k != "cursor"]
        # A commit's tree never changes, so an offset is a safe cursor.
        address = f"{call.base}/api/{repo.id.kind.value}/{repo.id}/tree/{commit}/{quote(path, safe='')}".rstrip("/")
        headers["Link"] = f'<{address}?{urlencode([*again, ("cursor", start + _TREE_PAGE)])}>; rel="next"'
    return JSONResponse(_describe_all(git, commit, entries[:_TREE_PAGE], call.flag("expand")), headers=headers)


def paths_info(call: Call) -> Response:
    """Answer POST paths-info/REVISION; paths that do not exist are left out."""
    git = call.repo().git()
    commit = git_objects.resolve(git, call.params["revision"])
    payload = _paths_request(call)
    found = [entry for path in payload.paths if (entry := git_objects.find(git, commit, path)) and entry.path]
    return JSONResponse(_describe_all(git, commit, found, payload.expand))


def _paths_request(call: Call) -> PathsRequest:
    # The client sends a form, other programs send JSON.
    if call.request.headers.get("Content-Type", "").startswith("application/json"):
        return call.json(PathsRequest)
    form = parse_qs(call.body.decode("utf-8", "replace"))
    try:
        expand = TypeAdapter(bool).validate_python(form.get("expand", ["false"])[-1])
        return PathsRequest(paths=form.get("paths", []), expand=expand)
    except ValidationError:
        raise bad_request("paths is a list of paths, expand is true or false") from None


def _describe_all(git: Any, commit: str, entries: list[Entry], expand: bool) -> list[dict[str, Any]]:
    changes = git_objects.last_changes(git, commit, {e.path for e in entries}) if expand else {}
    return [_describe(entry, changes.get(entry.path)) for entry in entries]


def _describe(entry: Entry, change: LogEntry | None) -> dict[str, Any]:
    kind = "directory" if entry.folder else "file"
    described: dict[str, Any] = {"type": kind, "oid": entry.oid, "size": entry.size, "path": entry.path}
    if entry.lfs:
        described["lfs"] = {"oid": entry.lfs.oid, "size": entry.lfs.size, "pointerSize": entry.lfs.length}
    if change:
        described["lastCommit"] = {"id": change.oid, "title": change.title, "date": timestamp(change.date)}
    return described


async def resolve(request: Request) -> Response:
    """Answer GET resolve/REVISION/PATH: the content of a file; of an LFS file that of its object."""
    return send_file(request, await run_in_threadpool(_file, identify(request), True))


async def raw(request: Request) -> Response:
    """Answer GET raw/REVISION/PATH: the content as git stores it; of an LFS file the pointer."""
    return send_file(request, await run_in_threadpool(_file, identify(request), False))


def _file(call: Call, follow: bool) -> FileToSend:
    repo = call.repo()
    git = repo.git()
    commit = git_objects.resolve(git, call.params["revision"])
    headers = {_COMMIT_HEADER: commit}
    try:
        entry = git_objects.find_file(git, commit, call.params["path"])
    except HubError:
        # The client caches that a file is missing at a commit, so the answer names the commit.
        raise _missing(call.params["path"], headers) from None
    call.require_file_access(repo)
    if follow and entry.lfs:
        path = call.hub.lfs.path(entry.lfs.oid)
        if call.hub.lfs.size(entry.lfs.oid) is None:
            raise _missing(call.params["path"], headers)
        headers |= {"X-Linked-Size": str(entry.size), "X-Linked-Etag": f'"{entry.lfs.oid}"'}
        return FileToSend(entry.path, entry.size, entry.lfs.oid, path=path, headers=headers)
    data = bytes(git[entry.oid].data)
    return FileToSend(entry.path, len(data), entry.oid, data=data, headers=headers)


def _missing(path: str, headers: dict[str, str]) -> HubError:
    error = entry_not_found(path)
    return HubError(error.status, error.message, error.code, headers=headers)


ROUTES = [
    Route(f"{REPO}/tree/{{revision:part}}", endpoint(tree)),
    Route(f"{REPO}/tree/{{revision:part}}/{{path:rest}}", endpoint(tree)),
    Route(f"{REPO}/paths-info/{{revision:part}}", endpoint(paths_info), methods=["POST"]),
    Route(f"{REPO_FILES}/resolve/{{revision:part}}/{{path:rest}}", resolve, methods=["GET"]),
    Route(f"{REPO_FILES}/raw/{{revision:part}}/{{path:rest}}", raw, methods=["GET"]),
]
