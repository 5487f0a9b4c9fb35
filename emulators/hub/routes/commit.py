"""Commits: the upload mode of each file (preupload), and the commit itself, a stream of JSON lines."""

from __future__ import annotations

import base64
import binascii
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal

from pathspec import GitIgnoreSpec
from pydantic import BaseModel, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulators.hub import commits, git_objects, webhook_events
from emulators.hub.commits import Change, Put, Remove
from emulators.hub.context import Call, endpoint, identify
from emulators.hub.http_errors import HubError, bad_request, revision_not_found
from emulators.hub.lfs import is_oid
from emulators.hub.names import check_path
from emulators.hub.storage import Repo
from emulators.hub.url_patterns import REPO
from emulators.hub.webhook_events import RefChange

_MAX_REGULAR = 10 * 1024 * 1024
_MAX_LINE = 64 << 20
_SPOOL = 4 << 20
_PULL_REQUESTS = "refs/pr/"
_STALE_PARENT = "The branch was updated since you opened this page. Please refresh and try again."


class Sample(BaseModel):
    """A file that the client is about to commit: its path, its size and its first 512 bytes."""

    path: str
    size: int = 0
    sample: str = ""


class PreuploadRequest(BaseModel):
    """Body of POST preupload/REVISION."""

    files: list[Sample] = Field(default_factory=list, max_length=10_000)
    gitIgnore: str | None = Field(default=None, max_length=1 << 20)  # noqa: N815 - the protocol's name


class Header(BaseModel):
    """The first line of a commit."""

    summary: str = Field(min_length=1)
    description: str = ""
    parentCommit: str | None = None  # noqa: N815 - the protocol's name


class File(BaseModel):
    """A line that writes a regular file."""

    path: str
    content: str
    encoding: Literal["base64", "utf-8"] = "base64"


class LfsFile(BaseModel):
    """A line that writes a file whose bytes are already stored by LFS."""

    path: str
    oid: str
    size: int | None = None


class Deleted(BaseModel):
    """A line that deletes a file or a folder."""

    path: str


class Line(BaseModel):
    """One line of the stream."""

    key: Literal["header", "file", "lfsFile", "deletedFile", "deletedFolder"]
    value: dict[str, Any]


@dataclass(frozen=True)
class Draft:
    """A parsed commit, whose blobs are already on disk; `large` are the ids of its LFS objects."""

    message: str
    parent: str | None
    changes: tuple[Change, ...]
    large: tuple[str, ...]


def preupload(call: Call) -> Response:
    """Answer POST preupload/REVISION: files that .gitattributes names, large files and binary files go to LFS."""
    repo, payload = call.repo(write=True), call.json(PreuploadRequest)
    git = repo.git()
    commit = git_objects.resolve(git, call.params["revision"])
    ignored = _ignored(git, commit, payload.gitIgnore)
    answers = []
    for file in payload.files:
        path = check_path(file.path)
        large = file.size > _MAX_REGULAR or _is_binary(file.sample) or git_objects.is_lfs_path(git, commit, path)
        entry = git_objects.find(git, commit, path)
        oid = None if entry is None or entry.folder else entry.lfs.oid if entry.lfs else entry.oid
        mode = "lfs" if large else "regular"
        answers.append({"path": file.path, "uploadMode": mode, "oid": oid, "shouldIgnore": ignored(path)})
    return JSONResponse({"files": answers, "commitOid": commit})


def _ignored(git: Any, commit: str, sent: str | None) -> Callable[[str], bool]:
    """Return a test whether .gitignore matches a path: the .gitignore that the client sends, else the stored one."""
    text = sent if sent is not None else (git_objects.read(git, commit, ".gitignore") or b"").decode("utf-8", "replace")
    try:
        patterns = GitIgnoreSpec.from_lines(text.splitlines())
    except ValueError:
        return lambda _: False
    return lambda path: path != ".gitignore" and patterns.match_file(path)


def _is_binary(sample: str) -> bool:
    try:
        return b"\0" in base64.b64decode(sample)
    except (binascii.Error, ValueError):
        raise bad_request("A sample is base64") from None


async def commit(request: Request) -> Response:
    """Answer POST commit/REVISION. The body may be large, so it is spooled to a file."""
    call = identify(request)
    await run_in_threadpool(lambda: call.repo(write=True))  # refuse before the body arrives
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL, dir=str(call.hub.root / "tmp")) as body:
        try:
            async for chunk in request.stream():
                await run_in_threadpool(body.write, chunk)
        except ClientDisconnect:
            raise bad_request("The request ended early") from None
        body.seek(0)
        return await run_in_threadpool(_commit, call, body)


def _commit(call: Call, body: IO[bytes]) -> Response:
    repo, revision = call.repo(write=True), call.params["revision"]
    call.check_storage(repo, body.seek(0, os.SEEK_END))
    body.seek(0)
    draft = read_draft(call, repo, _lines(body))
    call.hub.quotas.count_commit(call.writer())
    with repo.lock() as git:
        head, ref = _branch(git, revision)
        if draft.parent is not None and draft.parent != head:
            raise HubError(412, _STALE_PARENT)
        # `create_pr` stores the commit under a new refs/pr/N and leaves the branch alone; this Hub has no page, list or
        # merge of pull requests. A later commit of the same pull request names that ref as its revision.
        proposed = call.flag("create_pr") and not ref.startswith(_PULL_REQUESTS)
        old: str | None = head
        if proposed:
            old, ref = None, f"{_PULL_REQUESTS}{_next_pull_request(git)}"
        tree, oid = commits.build_tree(git, head, draft.changes), head
        if proposed or tree != str(git[head].tree.id):
            oid = commits.commit_tree(git, tree, [head], message=draft.message, author=call.author())
        for large in draft.large:
            call.hub.lfs.grant(large, f"repo:{repo.id.key}")
        if oid != old:
            commits.move_ref(git, ref, oid)
    if oid != old:
        call.hub.summaries.preload([repo])
        call.hub.request_reconcile(repo)
        webhook_events.content_changed(call, repo, RefChange(ref, old, oid))
    page = f"{call.base}/{repo.id.path}"
    answer = {"success": True, "commitOid": oid, "commitUrl": f"{page}/commit/{oid}", "hookOutput": ""}
    if proposed:
        answer["pullRequestUrl"] = f"{page}/discussions/{ref.removeprefix(_PULL_REQUESTS)}"
    return JSONResponse(answer)


def _next_pull_request(git: Any) -> int:
    numbers = (ref.removeprefix(_PULL_REQUESTS) for ref in git.references if ref.startswith(_PULL_REQUESTS))
    return max((int(number) for number in numbers if number.isdecimal()), default=0) + 1


def _branch(git: Any, revision: str) -> tuple[str, str]:
    """Return head and ref of a revision that accepts commits: a branch or a pull request, but no tag or commit.

    Raises:
        HubError: there is no such branch (404).
    """
    ref = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
    head = git_objects.resolve(git, ref)
    if not ref.startswith(("refs/heads/", _PULL_REQUESTS, "refs/convert/")):
        raise revision_not_found(revision)
    return head, ref


def _lines(body: IO[bytes]) -> Iterator[bytes]:
    while line := body.readline(_MAX_LINE):
        if len(line) >= _MAX_LINE:
            raise HubError(413, f"A line has more than {_MAX_LINE} bytes; files of that size go to LFS")
        if line.strip():
            yield line


def read_draft(call: Call, repo: Repo, lines: Iterable[bytes]) -> Draft:
    """Parse the lines of a commit, writing the bytes of each file to disk as they arrive.

    Raises:
        HubError: a line is malformed, a path leaves the repo, or an LFS object is not here (400).
    """
    git, header = repo.git(), None
    changes: list[Change] = []
    large: list[str] = []
    for number, text in enumerate(lines, start=1):
        try:
            line = Line.model_validate_json(text)
            if line.key == "header":
                header = Header.model_validate(line.value)
            elif line.key == "file":
                changes.append(_regular(call, git, File.model_validate(line.value), large))
            elif line.key == "lfsFile":
                changes.append(_large(call, git, LfsFile.model_validate(line.value), large))
            else:
                path = check_path(Deleted.model_validate(line.value).path.rstrip("/"))
                changes.append(Remove(path))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise bad_request(f"Line {number} of the commit: {where}: {first['msg']}") from None
    if header is None:
        raise bad_request("The commit has no header line")
    if not changes:
        raise bad_request("The commit has no changes: add a line with the key `lfsFile`, `file` or `deletedFile`")
    message = f"{header.summary}\n\n{header.description}" if header.description else header.summary
    return Draft(message.replace("\0", ""), header.parentCommit, tuple(changes), tuple(large))


def _regular(call: Call, git: Any, file: File, large: list[str]) -> Put:
    path = check_path(file.path)
    try:
        data = base64.b64decode(file.content) if file.encoding == "base64" else file.content.encode()
    except (binascii.Error, ValueError):
        raise bad_request(f"{path}: the content is no base64") from None
    # A pointer would be served as the object that it names, so it needs the same rights as an LFS file.
    if pointer := git_objects.parse_pointer(data):
        _check_object(call, path, pointer.oid, pointer.size)
        large.append(pointer.oid)
    return Put(path, commits.write_blob(git, data))


def _large(call: Call, git: Any, file: LfsFile, large: list[str]) -> Put:
    path = check_path(file.path)
    size = _check_object(call, path, file.oid, file.size)
    large.append(file.oid)
    return Put(path, commits.write_blob(git, git_objects.make_pointer(file.oid, size)))


def _check_object(call: Call, path: str, oid: str, size: int | None) -> int:
    stored = call.hub.lfs.size(oid) if is_oid(oid) else None
    if stored is None or not call.hub.may_reference(call.writer(), oid):
        raise bad_request(f"{path}: upload the LFS object {oid[:64]} before committing it")
    if size is not None and size != stored:
        raise bad_request(f"{path}: the LFS object {oid} has {stored} bytes, not {size}")
    return stored


ROUTES = [
    Route(f"{REPO}/preupload/{{revision:part}}", endpoint(preupload), methods=["POST"]),
    Route(f"{REPO}/commit/{{revision:part}}", commit, methods=["POST"]),
]
