"""What people do with repos that are not theirs: ask to read gated ones, and like them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulators.hub.access import Call, endpoint
from emulators.hub.accounts import Account
from emulators.hub.addresses import REPO, REPO_FILES
from emulators.hub.errors import HubError, bad_request, forbidden
from emulators.hub.listing import timestamp
from emulators.hub.names import Kind
from emulators.hub.storage import Repo, Request

_STATES = ("pending", "accepted", "rejected")


class HandleRequest(BaseModel):
    """POST user-access-request/handle: by the user's name or the request's id."""

    status: Literal["pending", "accepted", "rejected"]
    user: str | None = None
    requestId: str | None = None  # noqa: N815 - the protocol's name
    rejectionReason: str | None = None  # noqa: N815


class GrantRequest(BaseModel):
    """POST user-access-request/grant."""

    user: str


def ask(call: Call) -> Response:
    """POST REPO/ask-access: a gated repo is asked for; `auto` ones are open at once."""
    repo, account = call.repo(), call.account
    if account is None:
        raise HubError(401, "Sign in to ask for access")
    if not repo.settings.gated:
        raise bad_request(f"{repo.id} is not gated")
    status = "accepted" if repo.settings.gated == "auto" else "pending"

    if account.name not in repo.settings.access:
        _set(call, repo, account.name, Request(status=status))
    return JSONResponse({"success": True})


def requests(call: Call) -> Response:
    """GET user-access-request/STATUS."""
    repo, status = call.repo(write=True), call.params["status"]
    if status not in _STATES:
        raise bad_request(f"There are {', '.join(_STATES)}")
    found = [(name, r) for name, r in repo.settings.access.items() if r.status == status]
    return JSONResponse([_described(call, name, request) for name, request in found])


def _described(call: Call, name: str, request: Request) -> dict[str, Any]:
    account = call.hub.accounts.named(name)
    user = {"user": name, "fullname": account.fullname if account else name}
    described = {"user": user, "requestId": request.id, "status": request.status, "timestamp": timestamp(request.at)}
    return described | ({"rejectionReason": request.reason} if request.reason else {})


def handle(call: Call) -> Response:
    """POST user-access-request/handle: accept, reject, or back to pending."""
    repo, asked = call.repo(write=True), call.json(HandleRequest)
    for name, request in repo.settings.access.items():
        if asked.user == name or asked.requestId == request.id:
            if request.status == asked.status:
                raise HubError(404, f"This request is {asked.status} already")
            update = {"status": asked.status, "reason": asked.rejectionReason}
            _set(call, repo, name, request.model_copy(update=update))
            return JSONResponse({"success": True})
    raise HubError(404, "There is no such access request")


def grant(call: Call) -> Response:
    """POST user-access-request/grant: without having been asked."""
    repo, asked = call.repo(write=True), call.json(GrantRequest)
    account = call.hub.accounts.named(asked.user)
    if account is None:
        raise HubError(404, f"There is no user {asked.user[:100]}")
    known = repo.settings.access.get(account.name)
    if known is not None and known.status == "accepted":
        raise bad_request(f"{account.name} has access already")
    _set(call, repo, account.name, Request(status="accepted"))
    return JSONResponse({"success": True})


def _set(call: Call, repo: Repo, name: str, request: Request) -> None:
    call.hub.repos.update(repo, lambda now: now.model_copy(update={"access": {**now.access, name: request}}))


def like(call: Call) -> Response:
    """POST and DELETE like."""
    repo, account = call.repo(), call.writer()
    liking = call.request.method == "POST"

    def names(now: tuple[str, ...]) -> tuple[str, ...]:
        others = tuple(name for name in now if name != account.name)
        return (*others, account.name) if liking else others

    call.hub.repos.update(repo, lambda now: now.model_copy(update={"likes": names(now.likes)}))
    return JSONResponse({"success": True})


def likers(call: Call) -> Response:
    """GET likers."""
    accounts = [(name, call.hub.accounts.named(name)) for name in call.repo().settings.likes]
    return JSONResponse([_person(name, account) for name, account in accounts])


def _person(name: str, account: Account | None) -> dict[str, object]:
    return {
        "user": name,
        "fullname": (account.fullname if account else "") or name,
        "type": "user",
        "isPro": False,
        "avatarUrl": "",
    }


def liked(call: Call) -> Response:
    """GET /api/users/NAME/likes."""
    account = call.hub.accounts.named(call.params["user"])
    if account is None:
        raise HubError(404, "User not found")
    found = [
        {"createdAt": timestamp(repo.settings.created_at), "repo": {"name": str(repo.id), "type": kind.singular}}
        for kind in Kind
        for repo in call.hub.repos.all(kind)
        if account.name in repo.settings.likes and call.hub.may_read(call.account, repo)
    ]
    return JSONResponse(found)


def overview(call: Call) -> Response:
    """GET /api/users/NAME/overview."""
    account = call.hub.accounts.named(call.params["user"])
    if account is None:
        raise HubError(404, "User not found")
    repos = {
        kind: [r for r in call.hub.repos.all(kind, account.name) if call.hub.may_read(call.account, r)] for kind in Kind
    }
    counts = {f"num{kind.value.capitalize()}": len(found) for kind, found in repos.items()}
    organizations = [{"name": o.name, "fullname": o.fullname or o.name} for o in account.organizations]
    return JSONResponse(_person(account.name, account) | counts | {"orgs": organizations})


def storage(call: Call) -> Response:
    """GET settings/repositories, of the account or of an organization: its repos with what they take."""
    account, owner = call.account, call.params.get("owner")
    if account is None:
        raise HubError(401, "Invalid username or password.")
    if owner is not None and not account.namespace(owner):
        raise forbidden(f"You are not in {owner[:100]}")
    found: list[dict[str, Any]] = []
    for kind in Kind:
        for repo in call.hub.repos.all(kind, owner or account.name):
            summary, hidden = call.hub.summaries.of(repo), repo.settings.private
            one: dict[str, Any] = {"id": str(repo.id), "type": kind.singular, "updatedAt": timestamp(summary.modified)}
            found.append(one | {"visibility": "private" if hidden else "public", "storage": summary.bytes})
    total = sum(one["storage"] for one in found) or 1
    return JSONResponse([one | {"storagePercent": one["storage"] / total} for one in found])


_ACCESS = f"{REPO}/user-access-request"

ROUTES = [
    Route(f"{REPO_FILES}/ask-access", endpoint(ask), methods=["POST"]),
    Route(f"{_ACCESS}/handle", endpoint(handle), methods=["POST"]),
    Route(f"{_ACCESS}/grant", endpoint(grant), methods=["POST"]),
    Route(f"{_ACCESS}/{{status:part}}", endpoint(requests)),
    Route(f"{REPO}/like", endpoint(like), methods=["POST", "DELETE"]),
    Route(f"{REPO}/likers", endpoint(likers)),
    Route("/api/settings/repositories", endpoint(storage)),
    Route("/api/organizations/{owner:name}/settings/repositories", endpoint(storage)),
    Route("/api/users/{user:part}/likes", endpoint(liked)),
    Route("/api/users/{user:part}/overview", endpoint(overview)),
]
