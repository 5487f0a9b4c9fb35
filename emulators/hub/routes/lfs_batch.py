"""Git LFS: the batch request of git-lfs and of the client, and transfers by the signed URLs of its answer.

https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulators.hub import lfs, multipart
from emulators.hub.accounts import Account
from emulators.hub.context import Call, Hub, endpoint
from emulators.hub.download import FileToSend, send_file
from emulators.hub.http_errors import bad_request, forbidden
from emulators.hub.storage import Repo
from emulators.hub.url_patterns import REPO_FILES

_MEDIA_TYPE = "application/vnd.git-lfs+json"


class Wanted(BaseModel):
    """An object that the client names by digest and size in bytes."""

    oid: str
    size: int = Field(ge=0, le=1 << 40)


class BatchRequest(BaseModel):
    """Body of POST REPO.git/info/lfs/objects/batch."""

    operation: Literal["upload", "download"]
    objects: list[Wanted] = Field(max_length=10_000)
    transfers: list[str] = Field(default_factory=lambda: ["basic"])
    hash_algo: Literal["sha256"] = "sha256"


def batch(call: Call) -> Response:
    """Answer the batch request: a signed URL for each object; uploads of stored objects need none."""
    payload = call.json(BatchRequest)
    call_name = call.params["name"].removesuffix(".git")
    uploading = payload.operation == "upload"
    repo = call.find(call.params["kind"], call.params["owner"], call_name)
    if uploading and not call.writer().is_member(repo.id.owner):
        raise forbidden(f"You don't have the rights to change {repo.id}")
    call.require_file_access(repo)
    # The answer names one transfer for all objects, but clients read the action of each.
    in_parts = uploading and "multipart" in payload.transfers
    if uploading:
        call.check_storage(repo, sum(wanted.size for wanted in payload.objects))
        objects = [_upload(call, wanted, in_parts=in_parts) for wanted in payload.objects]
    else:
        objects = [_download(call, repo, wanted) for wanted in payload.objects]
    chosen = "multipart" if any("header" in o.get("actions", {}).get("upload", {}) for o in objects) else "basic"
    body = {"transfer": chosen, "objects": objects, "hash_algo": "sha256"}
    return JSONResponse(body, media_type=_MEDIA_TYPE)


def _action(call: Call, operation: str, wanted: Wanted, holder: str) -> dict[str, Any]:
    href = call.base + call.hub.lfs.sign(operation, wanted.oid, wanted.size, holder)
    return {"href": href, "expires_in": lfs.URL_SECONDS}


def _upload(call: Call, wanted: Wanted, *, in_parts: bool) -> dict[str, Any]:
    if not lfs.is_oid(wanted.oid):
        return wanted.model_dump() | _problem(422, "An LFS oid is a sha256 in lower-case hex")
    account: Account = call.writer()
    stored = call.hub.lfs.size(wanted.oid)
    if stored is not None and stored != wanted.size:
        return wanted.model_dump() | _problem(422, f"This object has {stored} bytes, not {wanted.size}")
    if stored is not None and call.hub.may_reference(account, wanted.oid):
        return wanted.model_dump()
    holder = f"account:{account.name.lower()}"
    if in_parts and wanted.size > multipart.ABOVE_BYTES:
        action = call.hub.multipart.begin(call.base, wanted.oid, wanted.size, holder)
    else:
        action = _action(call, "upload", wanted, holder)
    return wanted.model_dump() | {"authenticated": True, "actions": {"upload": action}}


def _download(call: Call, repo: Repo, wanted: Wanted) -> dict[str, Any]:
    stored = call.hub.lfs.size(wanted.oid) if lfs.is_oid(wanted.oid) else None
    if stored is None or f"repo:{repo.id.key}" not in call.hub.lfs.grants(wanted.oid):
        return wanted.model_dump() | _problem(404, "This repo has no such object")
    action = _action(call, "download", wanted, f"repo:{repo.id.key}")
    return wanted.model_dump() | {"authenticated": True, "actions": {"download": action}}


def _problem(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


async def receive(request: Request) -> Response:
    """Answer PUT of an object to its signed URL."""
    hub: Hub = request.app.state.hub
    oid = request.path_params["oid"]
    size, holder = hub.lfs.verify("upload", oid, dict(request.query_params))
    try:
        await hub.lfs.receive(oid, size, request.stream())
    except ClientDisconnect:
        raise bad_request("The upload ended early") from None
    await run_in_threadpool(hub.lfs.grant, oid, holder)
    return Response(headers={"ETag": f'"{oid}"'})


async def receive_part(request: Request) -> Response:
    """Answer PUT of one part of an object to its signed URL."""
    hub: Hub = request.app.state.hub
    upload, number, start, oid = (request.path_params[key] for key in ("upload", "number", "start", "oid"))
    size, _ = hub.lfs.verify(f"part/{upload}/{number}/{start}", oid, dict(request.query_params))
    try:
        digest = await hub.multipart.receive(upload, int(start), size, request.stream())
    except ClientDisconnect:
        raise bad_request("The upload ended early") from None
    return Response(headers={"ETag": f'"{digest}"'})


async def complete(request: Request) -> Response:
    """Answer POST to the signed URL that completes a multipart upload."""
    hub: Hub = request.app.state.hub
    upload, oid = request.path_params["upload"], request.path_params["oid"]
    size, holder = hub.lfs.verify(f"complete/{upload}", oid, dict(request.query_params))
    await run_in_threadpool(hub.multipart.complete, upload, oid, size)
    await run_in_threadpool(hub.lfs.grant, oid, holder)
    return JSONResponse({"success": True})


async def send(request: Request) -> Response:
    """Answer GET of an object from its signed URL."""
    hub: Hub = request.app.state.hub
    oid = request.path_params["oid"]
    size, _ = hub.lfs.verify("download", oid, dict(request.query_params))
    return send_file(request, FileToSend(oid, size, etag=oid, path=hub.lfs.path(oid)))


ROUTES = [
    Route(f"{REPO_FILES}/info/lfs/objects/batch", endpoint(batch), methods=["POST"]),
    Route("/_lfs/upload/{oid:part}", receive, methods=["PUT"]),
    Route("/_lfs/part/{upload:part}/{number:part}/{start:part}/{oid:part}", receive_part, methods=["PUT"]),
    Route("/_lfs/complete/{upload:part}/{oid:part}", complete, methods=["POST"]),
    Route("/_lfs/download/{oid:part}", send, methods=["GET"]),
]
