"""Sign-in to Prefect's UI by a link: `http://127.0.0.1:PORT/sign-in#AUTH_STRING`.

Prefect's UI asks for the server's auth string and keeps it in the browser, in base64 under `prefect-password`. The page
at the link stores it there and opens the UI. What follows the `#` is sent to no server, and the page removes it from
the address.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/sign-in"

_SCRIPT = """
const secret = decodeURIComponent(location.hash.slice(1));
if (secret) {
  localStorage.setItem("prefect-password", btoa(secret));
  location.replace("/");
} else {
  document.body.textContent = "This link is not complete: use the one that `conceptry up` printed.";
}
"""
_PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in</title></head><body><script>{_SCRIPT}</script></body></html>
"""
_DIGEST = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; script-src 'sha256-{_DIGEST}'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def sign_in_link(address: str, auth_string: str) -> str:
    """Return the link that signs a browser in to the UI at an address."""
    return f"{address}{PATH}#{quote(auth_string, safe='')}"


class SignIn:
    """ASGI middleware that serves the page; other requests go to the application.

    Args:
        app: The ASGI application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        # Imported here: every command reads the link above, and only the server needs this.
        from starlette.responses import HTMLResponse

        page = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == PATH
        await (HTMLResponse(_PAGE, headers=_HEADERS) if page else self._app)(scope, receive, send)
