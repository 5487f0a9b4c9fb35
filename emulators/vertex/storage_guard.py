"""Guard of the emulated Cloud Storage: a port that refuses web pages of other origins, in front of fake-gcs-server.

fake-gcs-server answers every page of the user's browser, and lets it read the answers. It listens on an address of its
own, chosen at random out of the loopback network, so that a page cannot find it there (Linux; elsewhere on 127.0.0.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import threading
from collections.abc import Iterator

from emulators.foreign_requests import REFUSED, is_foreign
from emulators.hub.apps.reverse_proxy import Rejection, RequestHead, ReverseProxy, Upstream


def hidden_address() -> str:
    """Return a loopback address for a server that only the guard talks to."""
    if sys.platform != "linux":
        return "127.0.0.1"
    return ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])


@contextlib.contextmanager
def guarding(port: int, host: str, hidden_port: int) -> Iterator[None]:
    """Forward the requests to 127.0.0.1 at `port` to a hidden server, while the block runs.

    Raises:
        RuntimeError: the port is taken.
    """

    async def route(head: RequestHead) -> Upstream | Rejection:
        # As if all of them changed something: the server would let a foreign page read its answers.
        if is_foreign("POST", head.get, loopback=True):
            return Rejection(403, REFUSED)
        return Upstream(hidden_port, authorization=True, host=host)

    proxy, loop = ReverseProxy(route), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="storage guard", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(proxy.listen("127.0.0.1", port), loop).result()
        if proxy.port != port:
            raise RuntimeError(f"the port {port} is taken")
        yield
    finally:
        asyncio.run_coroutine_threadsafe(proxy.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
