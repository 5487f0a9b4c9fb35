"""The address of an app: a port that stays, also while the app sleeps or is built anew.

The gate reads the head of one request, lets in whom the hub lets in, and then only carries bytes in both directions, so
that server-sent events and web sockets work. One request is one connection: each is checked, and none reaches the app
with a token of this hub in its head.
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
_LINGER_SECONDS = 2.0
_BLOCK = 1 << 16

_PAGE = (
    '<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">{}<title>Hub</title>'
    '<body style="font: 16px system-ui; display: grid; place-items: center; min-height: 90vh"><p>{}</p>'
)
_AGAIN = '<meta http-equiv="refresh" content="2">'


@dataclass(frozen=True)
class Head:
    """The head of a request."""

    line: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """A header's value."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def wants_page(self) -> bool:
        """Whether a person looks at the answer."""
        return self.line.startswith("GET ") and "text/html" in (self.get("accept") or "")


@dataclass(frozen=True)
class Refusal:
    """An answer of the gate itself. `wait` makes a browser try again."""

    status: int
    message: str
    challenge: bool = False
    wait: bool = False


@dataclass(frozen=True)
class Pass:
    """Leave to go on; `authorization` says whether that header is for the app (a token of the hub never is)."""

    authorization: bool


@dataclass(frozen=True)
class Route:
    """The port of this machine that a request goes to."""

    port: int
    authorization: bool


# Says where a request goes, or refuses it. May take long: it may wake the app.
Way = Callable[[Head], Awaitable[Route | Refusal]]


class Gate:
    """A listening port in front of one app. `open` counts the requests under way."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.open = 0

    async def listen(self, host: str, wanted: int) -> None:
        """Take a port, the wanted one if it is free."""
        for port in dict.fromkeys((wanted, 0)):
            with contextlib.suppress(OSError):
                self._server = await asyncio.start_server(self._connected, host, port, limit=_MAX_HEAD)
                self.port = int(self._server.sockets[0].getsockname()[1])
                return
        raise OSError(f"No port is free on {host}")

    async def close(self) -> None:
        """Stop listening and end what is under way."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        try:
            with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, ValueError):
                await self._serve(reader, writer)
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_SECONDS):
            head = parse_head(await reader.readuntil(b"\r\n\r\n"))
        way = await self._way(head)
        if isinstance(way, Refusal):
            await _answer(reader, writer, _refuse(way, head))
            return
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", way.port)
        except OSError:
            await _answer(reader, writer, _refuse(Refusal(502, "The app does not answer"), head))
            return
        inner_writer.write(_forwarded(head, authorization=way.authorization))
        try:
            if not await _carry_both(reader, writer, inner_reader, inner_writer):
                await _answer(reader, writer, _refuse(Refusal(502, "The app ended before it answered"), head))
        finally:
            inner_writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Send an answer of ours, and read on for a moment: closing on unread bytes would take the answer back."""
    writer.write(answer)
    await writer.drain()
    writer.write_eof()
    async with asyncio.timeout(_LINGER_SECONDS):
        while await reader.read(_BLOCK):
            pass


def parse_head(data: bytes) -> Head:
    """Take the head of a request apart. Raises ValueError when it is none."""
    line, *rest = data.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = []
    for text in rest:
        name, found, value = text.partition(":")
        if not found or name != name.strip():
            raise ValueError("malformed header")
        headers.append((name, value.strip()))
    return Head(line, tuple(headers))


def _forwarded(head: Head, *, authorization: bool) -> bytes:
    """The head as the app gets it: for one request only, unless it is upgraded."""
    upgrade = head.get("upgrade") is not None
    dropped = (set() if authorization else {"authorization"}) | (set() if upgrade else {"connection", "keep-alive"})
    lines = [head.line, *(f"{k}: {v}" for k, v in map(_bare, head.headers) if k.lower() not in dropped and v)]
    if not upgrade:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _bare(header: tuple[str, str]) -> tuple[str, str]:
    """A header without our own cookie: browsers send it to every port of a host."""
    name, value = header
    if name.lower() != "cookie":
        return header
    return name, "; ".join(part for part in value.split("; ") if not part.startswith(f"{COOKIE}="))


async def _carry_both(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    inner_reader: asyncio.StreamReader,
    inner_writer: asyncio.StreamWriter,
) -> bool:
    """Carry bytes both ways until the answer ends or the visitor goes; false when there was no answer at all."""
    inward = asyncio.create_task(_carry(reader, inner_writer))
    outward = asyncio.create_task(_carry(inner_reader, writer))
    try:
        await asyncio.wait([inward, outward], return_when=asyncio.FIRST_COMPLETED)
        return not outward.done() or outward.result() > 0
    finally:
        for task in (inward, outward):
            task.cancel()
        await asyncio.gather(inward, outward, return_exceptions=True)


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> int:
    count = 0
    with contextlib.suppress(ConnectionError):
        while data := await source.read(_BLOCK):
            count += len(data)
            target.write(data)
            await target.drain()
    return count


def _refuse(refusal: Refusal, head: Head) -> bytes:
    if head.wants_page and not refusal.challenge:
        kind = "text/html; charset=utf-8"
        body = _PAGE.format(_AGAIN if refusal.wait else "", html.escape(refusal.message)).encode()
    else:
        kind, body = "application/json", json.dumps({"error": refusal.message}).encode()
    lines = [f"HTTP/1.1 {refusal.status} {'Refused' if refusal.status < 500 else 'Unavailable'}"]
    lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close", "Cache-Control: no-store"]
    if refusal.challenge:
        lines.append('WWW-Authenticate: Basic realm="Hub: any user name, the token as password"')
    if refusal.wait:
        lines.append("Retry-After: 2")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
