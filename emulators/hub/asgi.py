"""The ASGI application: all routes, matched on raw paths, and the headers of every answer."""

from __future__ import annotations

import logging
import uuid

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulators.hub.context import Call, Hub, endpoint
from emulators.hub.http_errors import HubError, header_safe, repo_not_found
from emulators.hub.pages import browse, comparison
from emulators.hub.quotas import HEADERS
from emulators.hub.routes import (
    commit,
    files,
    inference_endpoints,
    lfs_batch,
    refs,
    repo_info,
    repos,
    smart_http,
    spaces,
    webhook_settings,
)

log = logging.getLogger("hub")


def unknown_api(call: Call) -> Response:
    """Answer any other API address: the repo is missing, or the Hub has no such function."""
    parts = call.params["path"].split("/")
    if len(parts) < 2:
        parts = [call.account.name if call.account else "-", parts[0]]
    call.find(call.params["kind"], parts[0], parts[1])
    raise HubError(404, f"This Hub has no {call.request.method} {call.request.url.path}")


def unknown_page(call: Call) -> Response:
    """Answer addresses of repos that cannot exist, such as one without an owner."""
    raise repo_not_found(anonymous=call.account is None)


class RequestEnvelope:
    """Middleware of all requests: routes on the raw path, echoes the request's id, and adds rate headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # %2F inside a revision must not become a slash before the routes have split the path.
        raw = scope.get("raw_path") or scope["path"].encode()
        scope["path"] = raw.decode("latin-1")
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id") or headers.get(b"x-amzn-trace-id") or b""
        request_id = header_safe(given.decode("latin-1"), 128) or uuid.uuid4().hex
        rates: list[tuple[bytes, bytes]] = []
        scope[HEADERS] = rates

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode()), *rates]
            await send(message)

        await self.app(scope, receive, tagged)


def _error_answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, HubError)
    wants_page = request.method == "GET" and "text/html" in request.headers.get("Accept", "")
    if wants_page and not request.url.path.startswith(("/api/", "/v2/", "/login")):
        return browse.error_page(request.scope["path"], error)
    return error.response()


def _http_error_answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error_answer(request, HubError(error.status_code, error.detail))


def _internal_error_answer(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return HubError(500, "Internal error of the Hub; see its log").response()


ROUTES = [
    *inference_endpoints.ROUTES,
    *webhook_settings.ROUTES,
    *spaces.ROUTES,
    *repos.ROUTES,
    *repo_info.ROUTES,
    *refs.ROUTES,
    *commit.ROUTES,
    *files.ROUTES,
    *lfs_batch.ROUTES,
    *smart_http.ROUTES,
    Route("/api/{kind:kind}/{path:rest}", endpoint(unknown_api), methods=["GET", "POST", "PUT", "DELETE"]),
    *comparison.ROUTES,
    *browse.ROUTES,
    Route("/{path:rest}", endpoint(unknown_page), methods=["GET", "POST", "PUT", "DELETE"]),
]


def make_app(hub: Hub) -> ASGIApp:
    """Return the ASGI application of a Hub."""
    handlers = {HubError: _error_answer, HTTPException: _http_error_answer, Exception: _internal_error_answer}
    app = Starlette(routes=ROUTES, exception_handlers=handlers)
    app.state.hub = hub
    return RequestEnvelope(app)
