"""Webhooks of an account: create, change, list, delete. See webhook_events for payloads."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulators.hub.accounts import Account
from emulators.hub.context import Call, endpoint, reject_invalid
from emulators.hub.http_errors import HubError, bad_request
from emulators.hub.webhooks import Watched, Webhook


class WebhookRequest(BaseModel):
    """Body of POST /api/settings/webhooks and /api/settings/webhooks/ID."""

    url: str | None = None
    watched: list[Watched] | None = None
    domains: list[Literal["repo", "discussion"]] | None = None
    secret: str | None = None
    jobSourceId: str | None = None  # noqa: N815 - the protocol's name

    def changes(self) -> dict[str, Any]:
        """Return the fields that the client sent, by the names of `Webhook`."""
        return {k: v for k, v in self.model_dump(exclude={"jobSourceId"}).items() if v is not None}


def _account(call: Call) -> Account:
    if call.account is None:
        raise HubError(401, "Invalid username or password.")
    return call.account


def _found(call: Call) -> Webhook:
    owner, uid = _account(call), call.params["webhook"]
    found = call.hub.webhooks.get(owner.name, uid) if re.fullmatch(r"[0-9a-f]{24}", uid) else None
    if found is None:
        raise HubError(404, "Webhook not found")
    return found


def _described(hook: Webhook) -> dict[str, Any]:
    return hook.model_dump(mode="json", exclude={"owner"})


def _saved(call: Call, hook: Webhook) -> Response:
    call.writer()
    call.hub.webhooks.save(hook)
    return JSONResponse({"webhook": _described(hook)})


def list_all(call: Call) -> Response:
    """Answer GET /api/settings/webhooks."""
    return JSONResponse([_described(hook) for hook in call.hub.webhooks.of(_account(call).name)])


def create(call: Call) -> Response:
    """Answer POST /api/settings/webhooks."""
    payload, owner = call.json(WebhookRequest), call.writer()
    if payload.jobSourceId is not None:
        raise bad_request("This Hub runs no jobs: give a url")
    with reject_invalid():
        hook = Webhook.model_validate({"owner": owner.name, **payload.changes()})
    return _saved(call, hook)


def show(call: Call) -> Response:
    """Answer GET /api/settings/webhooks/ID."""
    return JSONResponse({"webhook": _described(_found(call))})


def update(call: Call) -> Response:
    """Answer POST /api/settings/webhooks/ID."""
    found, payload = _found(call), call.json(WebhookRequest)
    with reject_invalid():
        hook = Webhook.model_validate(found.model_dump() | payload.changes())
    return _saved(call, hook)


def switch(call: Call) -> Response:
    """Answer POST /api/settings/webhooks/ID/enable and /disable."""
    return _saved(call, _found(call).model_copy(update={"disabled": call.params["state"] == "disable"}))


def delete(call: Call) -> Response:
    """Answer DELETE /api/settings/webhooks/ID."""
    found = _found(call)
    call.writer()
    call.hub.webhooks.delete(found)
    return JSONResponse({"success": True})


_ALL = "/api/settings/webhooks"
_ONE = f"{_ALL}/{{webhook:part}}"

ROUTES = [
    Route(_ALL, endpoint(list_all)),
    Route(_ALL, endpoint(create), methods=["POST"]),
    Route(_ONE, endpoint(show)),
    Route(_ONE, endpoint(update), methods=["POST"]),
    Route(_ONE, endpoint(delete), methods=["DELETE"]),
    Route(f"{_ONE}/{{state:switch}}", endpoint(switch), methods=["POST"]),
]
