"""Prefect's server for one machine: `python -m local.prefect_server --port PORT [--host ADDRESS]`.

The same server as `prefect server start`, with a link that signs in to its UI (local.sign_in), and with two changes for
SQLite, where one writer at a time can hold the lock:

- A request that lost the lock to another one, whose transaction was rolled back, is answered 503, after which Prefect's
  clients pause for 2 s, then 4 s. Most succeed some hundredths of a second later, so the server repeats them itself.
  `Retry-After` shortens the pause after the remaining ones to 0.1 s, doubled for each of the last five seconds.
- A statement waits 3 s for the lock instead of 60 s. While it waits, the whole server can be blocked: the event loop
  frees the cursor of an earlier, failed statement of the same connection, for which it takes the mutex that the waiting
  statement holds, and the transaction that has the lock continues in that very loop. Only the end of the wait resolves
  this.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
from sqlalchemy import event
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from local.sign_in import SignIn

LOCK_WAIT = 3.0
"""Seconds for which a statement waits for SQLite's write lock, and in which a request without it is repeated."""
PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds before each repetition."""
BUSY = 503

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.prefect_server", description="Prefect's server")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--host", default="127.0.0.1", help="IPv4 address to listen on (only this machine)")
    given = parser.parse_args()
    # Taken before the import of Prefect, which takes ten seconds and more: until then a second set-up would find the
    # port free, and use the server of the first one.
    try:
        listener = listen(given.port, given.host)
    except OSError as error:
        raise SystemExit(f"port {given.port} on {given.host}: {error.strerror}") from None
    with listener:
        event.listen(Pool, "checkout", limit_lock_wait)
        from prefect.server.api.server import create_app

        server = uvicorn.Server(uvicorn.Config(SignIn(RetrySoon(create_app(final=True))), log_level="warning"))
        server.run(sockets=[listener])


def listen(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Return a socket that listens on a port of an IPv4 address.

    Raises:
        OSError: the port is in use.
    """
    # asyncio switches Nagle's algorithm off only where the protocol is given. With it, an answer whose head and body
    # are written separately waits 40 ms for the client's acknowledgement of the head.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


def limit_lock_wait(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
    """Set SQLite's busy timeout of a pooled connection, once; a listener of the pool's event "checkout".

    Prefect sets its own when it connects, after every listener of "connect" of another module.
    """
    if not isinstance(connection, AsyncAdapt_aiosqlite_connection) or record.info.get(limit_lock_wait):
        return
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {LOCK_WAIT * 1000:.0f}")
    cursor.close()
    record.info[limit_lock_wait] = True


class RetrySoon:
    """ASGI middleware: repeats a request that is answered 503, and adds `Retry-After` to the answers that remain.

    Args:
        app: The ASGI application.
        patience: Seconds in which a request is repeated.
    """

    def __init__(self, app: _App, patience: float = LOCK_WAIT) -> None:
        self._app, self._patience = app, patience
        self._busy: deque[float] = deque(maxlen=8)

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Handle one request, or a connection of another kind as it is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return
        end = time.monotonic() + self._patience
        for pause in PAUSES:
            if time.monotonic() >= end:
                break
            if await self._answered(dict(scope), _again(body, receive), send):
                return
            await asyncio.sleep(pause)

        async def send_with_pause(message: _Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == BUSY:
                retry = f"{self._pause():.1f}".encode()
                message = {**message, "headers": [*message["headers"], (b"retry-after", retry)]}
            await send(message)

        await self._app(scope, _again(body, receive), send_with_pause)

    async def _answered(self, scope: _Message, receive: _Receive, send: _Send) -> bool:
        """Let the application answer; return False, and send nothing, if it answers 503."""
        busy = False

        async def send_unless_busy(message: _Message) -> None:
            nonlocal busy
            busy = busy or (message["type"] == "http.response.start" and message["status"] == BUSY)
            if not busy:
                await send(message)

        try:
            await self._app(scope, receive, send_unless_busy)
        except Exception:  # which Starlette raises again after it has answered with it
            if not busy:
                raise
        return not busy

    def _pause(self) -> float:
        now = time.monotonic()
        recent = sum(now - then < 5 for then in self._busy)
        self._busy.append(now)
        return min(10.0, 0.1 * 2.0**recent)


async def _read(receive: _Receive) -> bytes | None:
    """Return the body of a request; None if the client left before its end."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _again(body: bytes, receive: _Receive) -> _Receive:
    """Return a `receive` that begins with a body that was read already."""
    first = True

    async def replay() -> _Message:
        nonlocal first
        if not first:
            return await receive()
        first = False
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


if __name__ == "__main__":
    main()
