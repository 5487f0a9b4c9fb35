"""Start a Hub: in the foreground (`serve`), or in a thread of this process (`running`)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from emulators.foreign_requests import RefuseForeignRequests
from emulators.host import is_loopback
from emulators.hub.accounts import Accounts
from emulators.hub.apps.limits import Limits
from emulators.hub.apps.supervisor import Supervisor
from emulators.hub.asgi import make_app
from emulators.hub.config import HubConfig
from emulators.hub.context import Hub
from emulators.hub.names import Kind
from emulators.hub.webhook_delivery import WebhookDelivery


@dataclass(frozen=True)
class RunningHub:
    """A Hub that answers at `url`."""

    url: str
    root: Path


def _listen(host: str, port: int) -> tuple[socket.socket, str]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the explicit protocol asyncio leaves Nagle's algorithm on, which delays every answer by 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except BaseException:
        listener.close()
        raise
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    return listener, f"http://{shown}:{listener.getsockname()[1]}"


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the connections, also those of requests that did not end within the grace time."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(0)


def is_local(host: str, public_url: str | None) -> bool:
    """Whether only this machine reaches a server that listens on `host`, directly and through its reverse proxy."""
    return is_loopback(host) and (public_url is None or is_loopback(urlsplit(public_url).hostname or ""))


def _public_host(hub: Hub) -> str | None:
    return urlsplit(hub.public_url).netloc if hub.public_url else None


def _server(hub: Hub, host: str) -> uvicorn.Server:
    config = uvicorn.Config(
        RefuseForeignRequests(make_app(hub), loopback=is_loopback(host), public=_public_host(hub)),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=5,
        # Longer than the client's own keep-alive, so that it never writes into a connection that just closed.
        timeout_keep_alive=75,
    )
    return _Server(config)


def serve(
    root: Path,
    *,
    host: str,
    port: int,
    ready: Callable[[str], None],
    accounts: Accounts | None = None,
    limits: Limits | None = None,
    config: HubConfig | None = None,
    public_url: str | None = None,
) -> None:
    """Serve until interrupted; `ready` is called with the URL as soon as the server accepts connections.

    Spaces and endpoints run within the limits; without limits none of them runs. `public_url` is the address of a
    reverse proxy in front of the server, which links then begin with.

    Raises:
        ValueError: other machines can reach the Hub and there are no accounts (the default token is public).
        OSError: the address is taken.
    """
    if accounts is None and not is_local(host, public_url):
        reached = host if public_url is None else public_url
        raise ValueError(f"{reached} can be reached from other machines: give an accounts file, or stay on 127.0.0.1")
    hub = Hub(root, accounts or Accounts(), limits, config, public_url)
    server = _server(hub, host)
    listener, url = _listen(host, port)
    with listener, _background(hub, url, host):
        ready(url)
        server.run(sockets=[listener])


@contextlib.contextmanager
def _background(hub: Hub, url: str, host: str) -> Iterator[None]:
    """Deliver webhooks, and supervise apps if this server has limits for them, while the block runs."""
    delivery = WebhookDelivery(hub.webhooks)
    delivery.start()
    hub.summaries.preload(repo for kind in Kind for repo in hub.repos.all(kind))
    try:
        with _running_apps(hub, url, host):
            yield
    finally:
        delivery.stop()


@contextlib.contextmanager
def _running_apps(hub: Hub, url: str, host: str) -> Iterator[None]:
    if hub.limits is None:
        yield
        return
    # Apps run on this machine, so they reach a server with a wildcard address at its loopback address.
    loopback = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    supervisor = Supervisor(hub, loopback, host, hub.limits)
    supervisor.start()
    try:
        yield
    finally:
        supervisor.stop()


@contextlib.contextmanager
def running(
    root: Path | str,
    *,
    port: int = 0,
    accounts: Accounts | None = None,
    limits: Limits | None = None,
    config: HubConfig | None = None,
    public_url: str | None = None,
) -> Iterator[RunningHub]:
    """Serve a Hub on 127.0.0.1 in a thread of this process while the block runs.

    The socket listens before this yields, so that the first request succeeds. Spaces and endpoints run only if limits
    are given. `public_url` is as of `serve`.

    Raises:
        OSError: the port is taken.
    """
    hub = Hub(Path(root), accounts or Accounts(), limits, config, public_url)
    server = _server(hub, "127.0.0.1")
    listener, url = _listen("127.0.0.1", port)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="hub", daemon=True)
    with listener, _background(hub, url, "127.0.0.1"):
        thread.start()
        try:
            yield RunningHub(url, Path(root))
        finally:
            server.should_exit = True
            thread.join()
