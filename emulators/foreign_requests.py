"""Refusal of requests that a page of another origin sends through the browser of a user of this machine.

A server on loopback can be reached by every web page that its user opens. Browsers say where such a request comes from,
and no page can change that: `Sec-Fetch-Site`, `Origin`, and in `Host` the name by which the page was reached, which
differs from this machine's when a name was pointed at 127.0.0.1 (DNS rebinding). Other clients send none of these but
`Host`, and are not affected.

Sources: https://www.w3.org/TR/fetch-metadata/, https://fetch.spec.whatwg.org/#origin-header
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

_READING = frozenset({"GET", "HEAD", "OPTIONS"})

REFUSED = "Refused: a page of another origin sent this request"


def is_foreign(method: str, header: Callable[[str], str | None], *, loopback: bool, public: str | None = None) -> bool:
    """Whether a request comes from a page of another origin, and could change something.

    Args:
        method: Of the request. Reading is left to the browser, which shows a page nothing of another origin.
        header: Returns a header by its name in small letters.
        loopback: Whether only this machine reaches the server, so that no other host name leads to it.
        public: Host, with its port, at which a reverse proxy in front of the server is reached; None without one.
    """
    host = header("host")
    if loopback and host is not None and host != public and not _is_this_machine(host):
        return True
    if method.upper() == "OPTIONS":
        # A browser asks whether the page may send a request of another method.
        method = header("access-control-request-method") or method
    if method.upper() in _READING and header("upgrade") is None:
        return False
    site, origin = header("sec-fetch-site"), header("origin")
    if site is not None:
        # "same-site" is another port of this machine, for example a Space.
        return site not in ("same-origin", "none")
    return origin is not None and urlsplit(origin).netloc not in (host, public)


def _is_this_machine(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class RefuseForeignRequests:
    """ASGI middleware that answers 403 to foreign requests.

    Args:
        app: The ASGI application.
        loopback: As of `is_foreign`.
        public: As of `is_foreign`.
    """

    def __init__(self, app: ASGIApp, *, loopback: bool, public: str | None = None) -> None:
        self._app, self._loopback, self._public = app, loopback, public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            headers = {name.lower(): value for name, value in scope["headers"]}

            def header(name: str) -> str | None:
                value = headers.get(name.encode())
                return None if value is None else value.decode("latin-1")

            if is_foreign(scope["method"], header, loopback=self._loopback, public=self._public):
                await _refuse(send)
                return
        await self._app(scope, receive, send)


async def _refuse(send: Send) -> None:
    body = json.dumps({"error": REFUSED}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
