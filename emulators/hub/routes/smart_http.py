"""`git clone` and `git fetch`: git's own upload-pack behind smart HTTP. Large files arrive as pointers.

https://git-scm.com/docs/http-protocol
"""

from __future__ import annotations

import asyncio
import os
import re
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from emulators.hub.context import Call, identify
from emulators.hub.http_errors import HubError, bad_request
from emulators.hub.storage import Repo
from emulators.hub.url_patterns import REPO_FILES

_MAX_REQUEST = 64 << 20
_BLOCK = 1 << 16


async def advertise(request: Request) -> Response:
    """Answer GET info/refs: the refs and the server's capabilities."""
    service = request.query_params.get("service")
    if service == "git-receive-pack":
        raise HubError(403, "This Hub takes commits from huggingface_hub, not from git push")
    if service != "git-upload-pack":
        raise bad_request("Only git's smart protocol is spoken here")
    repo = await run_in_threadpool(_repo, identify(request))
    version_2 = request.headers.get("Git-Protocol") == "version=2"
    greeting = b"" if version_2 else b"001e# service=git-upload-pack\n0000"
    return await _upload_pack(request, repo, greeting=greeting, advertise=True)


async def fetch(request: Request) -> Response:
    """Answer POST git-upload-pack: the wanted objects in a pack."""
    repo = await run_in_threadpool(_repo, identify(request))
    body = await _body(request)
    return await _upload_pack(request, repo, body=body)


def _repo(call: Call) -> Repo:
    name = call.params["name"].removesuffix(".git")
    return call.require_file_access(call.find(call.params["kind"], call.params["owner"], name))


async def _body(request: Request) -> bytes:
    packed = request.headers.get("Content-Encoding") == "gzip"
    unpack = zlib.decompressobj(wbits=31)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += unpack.decompress(chunk, _MAX_REQUEST) if packed else chunk
            if len(body) >= _MAX_REQUEST:
                raise HubError(413, "This request for objects is too long")
    except (ClientDisconnect, zlib.error):
        raise bad_request("The request is broken") from None
    return bytes(body)


async def _upload_pack(
    request: Request, repo: Repo, *, body: bytes = b"", greeting: bytes = b"", advertise: bool = False
) -> StreamingResponse:
    protocol = request.headers.get("Git-Protocol", "")
    # Of this process's environment only PATH; no git configuration of the machine or the user.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    environment |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    if re.fullmatch(r"version=[0-2]", protocol):
        environment["GIT_PROTOCOL"] = protocol
    process = await asyncio.create_subprocess_exec(
        "git",
        "upload-pack",
        "--stateless-rpc",
        *(["--advertise-refs"] if advertise else []),
        str(Path(repo.folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )
    kind = "advertisement" if advertise else "result"
    headers = {"Cache-Control": "no-cache", "Content-Type": f"application/x-git-upload-pack-{kind}"}
    return StreamingResponse(_output(process, body, greeting), headers=headers)


async def _output(process: asyncio.subprocess.Process, body: bytes, greeting: bytes) -> AsyncIterator[bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if greeting:
            yield greeting
        process.stdin.write(body)
        process.stdin.close()
        while block := await process.stdout.read(_BLOCK):
            yield block
    finally:
        if process.returncode is None:
            try:
                await asyncio.wait_for(process.wait(), timeout=5)
            except (TimeoutError, asyncio.CancelledError):
                process.kill()
                await process.wait()


ROUTES = [
    Route(f"{REPO_FILES}/info/refs", advertise),
    Route(f"{REPO_FILES}/git-upload-pack", fetch, methods=["POST"]),
]
