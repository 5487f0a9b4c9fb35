"""Network of a simulated host: an HTTP proxy through which all of its requests go, and which can be cut.

Environment variables name the proxy to every client: httpx, requests, gRPC and git. A cut closes the connections that
are open and refuses new ones; a delay holds each new connection for a while first.
"""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

_REFUSED = b"HTTP/1.1 503 Network cut\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_CHUNK = 1 << 16


class Networks:
    """Event loop, in a thread of its own, in which the proxies of all hosts run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="networks", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the loop, and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def close(self) -> None:
        """End all connections and the loop."""
        self.call(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    # A connection that was accepted just now has its task by then; one that never began would not close its transport.
    await asyncio.sleep(0.05)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Network:
    """Proxy of one host.

    Args:
        networks: Loop to run in.
        services: Names of the services by port of this machine.
    """

    def __init__(self, networks: Networks, services: dict[int, str]) -> None:
        self._networks, self._services = networks, services
        self._cut: set[str] = set()
        self._open: dict[asyncio.Task[Any], str] = {}
        self._server: asyncio.Server = networks.call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def variables(self) -> dict[str, str]:
        """Return the environment variables that lead clients through this network."""
        proxy = f"http://127.0.0.1:{self.port}"
        names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "grpc_proxy")
        return dict.fromkeys(names, proxy) | {"no_proxy": "", "NO_PROXY": ""}

    def cut(self, *services: str) -> None:
        """Cut the host off from services."""
        self._networks.call(self._cut_now(services))

    def mend(self, *services: str) -> None:
        """Undo `cut`, of all services if none is named."""
        self._cut -= set(services or self._cut)

    @property
    def is_cut(self) -> bool:
        """Whether any service cannot be reached."""
        return bool(self._cut)

    def close(self) -> None:
        """End the proxy."""
        self._networks.call(self._close())

    async def _close(self) -> None:
        self._server.close()
        await self._end(set(self._services.values()))

    async def _cut_now(self, services: tuple[str, ...]) -> None:
        self._cut |= set(services)
        await self._end(set(services))

    async def _end(self, services: set[str]) -> None:
        ended = [task for task, service in self._open.items() if service in services]
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
                head = await reader.readuntil(b"\r\n\r\n")
                line, _, headers = head.partition(b"\r\n")
                method, target, version = line.decode("latin-1").split(" ")
                address = urlsplit(target if "://" in target else f"//{target}")
                service = self._services.get(address.port or 0, "another service")
                if service in self._cut:
                    writer.write(_REFUSED)
                    return
                self._open[task] = service
                upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", address.port)
                try:
                    if method == "CONNECT":
                        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    else:
                        upstream.write(_one_request(method, address.path, address.query, version, headers))
                    await _pump_both(reader, writer, upstream_reader, upstream)
                finally:
                    await _close(upstream)
        finally:
            self._open.pop(task, None)
            await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close a connection when its data is sent, or at once if this task is cancelled."""
    writer.close()
    try:
        with suppress(OSError):
            await writer.wait_closed()
    except asyncio.CancelledError:
        writer.transport.abort()
        raise


def _one_request(method: str, path: str, query: str, version: str, headers: bytes) -> bytes:
    """Return the head of a request to the server itself, which closes the connection after its answer."""
    upgrade = b"\r\nupgrade:" in b"\r\n" + headers.lower()
    kept = [
        line
        for line in headers.split(b"\r\n")
        if line and not line.lower().startswith((b"proxy-", *(() if upgrade else (b"connection:",))))
    ]
    if not upgrade:
        kept.append(b"Connection: close")
    target = f"{path or '/'}{f'?{query}' if query else ''}"
    return f"{method} {target} {version}\r\n".encode("latin-1") + b"\r\n".join(kept) + b"\r\n\r\n"


async def _pump_both(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    upstream_reader: asyncio.StreamReader,
    upstream: asyncio.StreamWriter,
) -> None:
    """Copy in both directions until the server has ended the connection, or the client has gone."""
    sending = asyncio.ensure_future(_pump(reader, upstream))
    try:
        await _pump(upstream_reader, writer)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
