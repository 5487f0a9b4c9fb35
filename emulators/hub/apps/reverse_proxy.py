"""Per-app reverse proxy: a stable port, authentication, wake on request, byte passthrough.

The proxy reads the head of a request, authorizes it, and then passes bytes in both directions, so that server-sent
events and web sockets work. It serves one request per connection: each is authorized, and none carries a token of this
Hub to the app.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from emulators.hub.sessions import COOKIE

_MAX_HEAD = 64 << 10
_HEAD_SECONDS = 30.0
_DRAIN_SECONDS = 2.0
_BLOCK = 1 << 16

_PAGE = (
    '<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">{}<title>Hub</title>'
    '<body style="font: 16px system-ui; display: grid; place-items: center; min-height: 90vh"><p>{}</p>'
)
_REFRESH = '<meta http-equiv="refresh" content="2">'


@dataclass(frozen=True)
class RequestHead:
    """Request line and headers of a request."""

    line: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """Return a header's value; none when the request does not have it."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def wants_page(self) -> bool:
        """Whether a browser asks for a page."""
        return self.line.startswith("GET ") and "text/html" in (self.get("accept") or "")


@dataclass(frozen=True)
class Rejection:
    """An error that the proxy itself answers with. `wait` makes a browser try again."""

    status: int
    message: str
    challenge: bool = False
    wait: bool = False


@dataclass(frozen=True)
class Authorized:
    """An authorized request; `authorization` says whether that header goes to the app (a token of the Hub does not)."""

    authorization: bool


@dataclass(frozen=True)
class Upstream:
    """The local port that a request is forwarded to."""

    port: int
    authorization: bool
    host: str = "127.0.0.1"


# Decides where a request goes, or refuses it. It may take long, since it may wake the app.
Router = Callable[[RequestHead], Awaitable[Upstream | Rejection]]


class ReverseProxy:
    """A listening port in front of one app. `active` is the number of requests in progress."""

    def __init__(self, route: Router) -> None:
        self._route = route
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.active = 0

    async def listen(self, host: str, preferred: int) -> None:
        """Listen on the preferred port, or on any free one.

        Raises:
            OSError: no port is free.
        """
        for port in dict.fromkeys((preferred, 0)):
            with contextlib.suppress(OSError):
                self._server = await asyncio.start_server(self._connected, host, port, limit=_MAX_HEAD)
                self.port = int(self._server.sockets[0].getsockname()[1])
                return
        raise OSError(f"No port is free on {host}")

    async def close(self) -> None:
        """Stop listening and cancel the requests in progress."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.active += 1
        try:
            with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, ValueError):
                await self._serve(reader, writer)
        finally:
            self.active -= 1
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_SECONDS):
            head = parse_head(await reader.readuntil(b"\r\n\r\n"))
        target = await self._route(head)
        if isinstance(target, Rejection):
            await _answer(reader, writer, _rejection(target, head))
            return
        try:
            inner_reader, inner_writer = await asyncio.open_connection(target.host, target.port)
        except OSError:
            await _answer(reader, writer, _rejection(Rejection(502, "The app does not answer"), head))
            return
        inner_writer.write(_forwarded(head, authorization=target.authorization))
        try:
            if not await _pass_both(reader, writer, inner_reader, inner_writer):
                await _answer(reader, writer, _rejection(Rejection(502, "The app ended before it answered"), head))
        finally:
            inner_writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Send an answer of the proxy, then drain the request: closing with unread bytes would reset the connection."""
    writer.write(answer)
    await writer.drain()
    writer.write_eof()
    async with asyncio.timeout(_DRAIN_SECONDS):
        while await reader.read(_BLOCK):
            pass


def parse_head(data: bytes) -> RequestHead:
    """Parse the head of a request.

    Raises:
        ValueError: a header is malformed.
    """
    line, *rest = data.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = []
    for text in rest:
        name, found, value = text.partition(":")
        if not found or name != name.strip():
            raise ValueError("malformed header")
        headers.append((name, value.strip()))
    return RequestHead(line, tuple(headers))


def _forwarded(head: RequestHead, *, authorization: bool) -> bytes:
    """Return the head for the app; unless the connection is upgraded, it is for one request only."""
    upgrade = head.get("upgrade") is not None
    dropped = (set() if authorization else {"authorization"}) | (set() if upgrade else {"connection", "keep-alive"})
    kept = [(k, v) for k, v in map(_without_session, head.headers) if k.lower() not in dropped and v]
    lines = [head.line, *(f"{k}: {v}" for k, v in kept)]
    if not upgrade:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _without_session(header: tuple[str, str]) -> tuple[str, str]:
    """Remove the Hub's session cookie from a header: browsers send it to every port of a host."""
    name, value = header
    if name.lower() != "cookie":
        return header
    return name, "; ".join(part for part in value.split("; ") if not part.startswith(f"{COOKIE}="))


async def _pass_both(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    inner_reader: asyncio.StreamReader,
    inner_writer: asyncio.StreamWriter,
) -> bool:
    """Pass bytes both ways until the app or the client closes; false when the app sent no byte."""
    inward = asyncio.create_task(_pass(reader, inner_writer))
    outward = asyncio.create_task(_pass(inner_reader, writer))
    try:
        await asyncio.wait([inward, outward], return_when=asyncio.FIRST_COMPLETED)
        return not outward.done() or outward.result() > 0
    finally:
        for task in (inward, outward):
            task.cancel()
        await asyncio.gather(inward, outward, return_exceptions=True)


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> int:
    count = 0
    with contextlib.suppress(ConnectionError):
        while data := await source.read(_BLOCK):
            count += len(data)
            target.write(data)
            await target.drain()
    return count


def _rejection(rejection: Rejection, head: RequestHead) -> bytes:
    if head.wants_page and not rejection.challenge:
        kind = "text/html; charset=utf-8"
        body = _PAGE.format(_REFRESH if rejection.wait else "", html.escape(rejection.message)).encode()
    else:
        kind, body = "application/json", json.dumps({"error": rejection.message}).encode()
    lines = [f"HTTP/1.1 {rejection.status} {'Refused' if rejection.status < 500 else 'Unavailable'}"]
    lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close", "Cache-Control: no-store"]
    if rejection.challenge:
        lines.append('WWW-Authenticate: Basic realm="Hub: any user name, the token as password"')
    if rejection.wait:
        lines.append("Retry-After: 2")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
