"""Inference Endpoints: the API of api.endpoints.huggingface.cloud/v2, at /v2 of this hub.

huggingface_hub.constants.INFERENCE_ENDPOINTS_ENDPOINT = f"{hub}/v2"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from emulators.hub import catalog, history
from emulators.hub.accounts import Account
from emulators.hub.apps.control_dir import Stage, Status
from emulators.hub.apps.desired_state import endpoint_wish
from emulators.hub.apps.logs import text_of
from emulators.hub.context import Call, endpoint, refusing_invalid
from emulators.hub.endpoints import Endpoint, EndpointBody, not_found
from emulators.hub.errors import HubError, bad_request, forbidden
from emulators.hub.listing import timestamp
from emulators.hub.names import is_repo_name

_STATES = {
    Stage.BUILDING: "initializing",
    Stage.APP_STARTING: "initializing",
    Stage.RUNNING_BUILDING: "updating",
    Stage.RUNNING: "running",
    Stage.PAUSED: "paused",
    Stage.SLEEPING: "scaledToZero",
    Stage.STOPPED: "paused",
}


class UpdateRequest(BaseModel):
    """PUT endpoint/NAMESPACE/NAME: the parts that change, each as a whole or in its keys."""

    model_config = ConfigDict(extra="allow")

    compute: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    type: str | None = None
    tags: list[str] | None = None


def _namespace(call: Call, *, write: bool = False) -> str:
    """The namespace of the address, if the account is in it."""
    name, account = call.params["namespace"], call.account
    if account is None:
        raise HubError(401, "Invalid username or password.")
    if not is_repo_name(name) or not account.namespace(name):
        raise forbidden(f"You don't have access to the endpoints of {name[:100]}")
    if write:
        call.writer()
    organization = account.organization(name)
    return organization.name if organization else account.name


def _found(call: Call, *, write: bool = False) -> Endpoint:
    namespace, name = _namespace(call, write=write), call.params["endpoint"]
    found = call.hub.endpoints.get(namespace, name) if is_repo_name(name) else None
    if found is None:
        raise not_found(name)
    return found


def describe(call: Call, endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as the API shows it."""
    body = endpoint.body.model_dump()
    model = {k: v for k, v in body["model"].items() if k != "secrets"} | {"revision": endpoint.commit}
    model["task"] = model.get("task") or "custom"
    status = _status(call, endpoint)
    state = _STATES.get(status.stage, "failed")
    wanted = endpoint.body.compute.scaling.minReplica or 1
    running = state in ("running", "updating")
    said: dict[str, Any] = {
        "state": state,
        "message": status.message or f"Endpoint is {state}",
        "createdAt": timestamp(endpoint.created_at),
        "createdBy": {"id": endpoint.created_by, "name": endpoint.created_by},
        "updatedAt": timestamp(max(endpoint.updated_at, status.since)),
        "updatedBy": {"id": endpoint.created_by, "name": endpoint.created_by},
        "private": None,
        "readyReplica": 1 if running else 0,
        "targetReplica": 0 if state in ("paused", "scaledToZero") else wanted,
    }
    if status.address and state in ("running", "updating", "scaledToZero"):
        said["url"] = call.reachable(status.address)
    compute = body["compute"] | {"id": catalog.compute_id(endpoint.body)}
    return body | {
        "model": model,
        "compute": compute,
        "status": said,
        "healthRoute": "/health",
        "accountId": None,
        "tags": list(endpoint.body.tags),
    }


def _status(call: Call, endpoint: Endpoint) -> Status:
    """What the keeper says of the endpoint as it is wished now; what it said of an earlier wish does not count."""
    wish = endpoint_wish(endpoint, call.hub.repos.named(endpoint.body.model.repository))
    if wish is None:
        return Status(stage=Stage.BUILD_ERROR, message=f"{endpoint.body.model.repository} is not there any more")
    if wish.paused:
        return Status(stage=Stage.PAUSED, since=endpoint.updated_at)
    status = call.hub.board.status(endpoint.uid)
    if not call.hub.board.is_kept():
        pending = "This hub runs nothing: start it with --run" if call.hub.limits is None else "Waiting to be looked at"
        return Status(stage=_PENDING, message=pending, since=endpoint.updated_at)
    if wish.asleep:
        return Status(stage=Stage.SLEEPING, address=status.address if status else None, since=endpoint.updated_at)
    if status is None or status.version != wish.version or status.stage == Stage.PAUSED:
        stage = Stage.RUNNING_BUILDING if status and status.stage == Stage.RUNNING else _PENDING
        return Status(stage=stage, address=status.address if status else None, since=endpoint.updated_at)
    return status


_PENDING = "PENDING"
_STATES[_PENDING] = "pending"


def list_all(call: Call) -> Response:
    """GET endpoint/NAMESPACE."""
    namespace = _namespace(call)
    return JSONResponse({"items": [describe(call, e) for e in call.hub.endpoints.all(namespace)]})


def create(call: Call) -> Response:
    """POST endpoint/NAMESPACE."""
    namespace, body = _namespace(call, write=True), call.json(EndpointBody)
    account = call.writer()
    problem = catalog.problem(body)
    if problem:
        raise bad_request(problem)
    made = Endpoint(
        namespace=namespace,
        body=body,
        commit=_commit(call, account, body.model.repository, body.model.revision),
        created_by=account.name,
    )
    call.hub.endpoints.create(made)
    call.hub.board.ask(made.uid, made.place)
    return JSONResponse(describe(call, made))


def _commit(call: Call, account: Account, repository: str, revision: str | None) -> str:
    """The commit that is deployed: an endpoint stays at it while its branch moves on."""
    repo = call.hub.repos.named(repository)
    if repo is None or not call.hub.may_read(account, repo):
        raise HubError(404, f"Repository {repository[:200]} not found")
    return history.resolve(call.files_of(repo).git(), revision or "main")


def show(call: Call) -> Response:
    """GET endpoint/NAMESPACE/NAME."""
    return JSONResponse(describe(call, _found(call)))


def update(call: Call) -> Response:
    """PUT endpoint/NAMESPACE/NAME: another machine, another revision, other variables."""
    found, asked = _found(call, write=True), call.json(UpdateRequest)
    account = call.writer()
    given = asked.model_dump(exclude_none=True)

    def change(now: Endpoint) -> Endpoint:
        body = EndpointBody.model_validate(_merged(now.body.model_dump(), given))
        commit = now.commit
        if "repository" in asked.model or "revision" in asked.model:
            commit = _commit(call, account, body.model.repository, asked.model.get("revision"))
        return now.model_copy(update={"body": body, "commit": commit})

    with refusing_invalid():
        if problem := catalog.problem(change(found).body):
            raise bad_request(problem)
        return _changed(call, found, change)


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`new` over `old`, key by key; tables of variables are replaced as a whole."""
    merged = dict(old)
    for key, value in new.items():
        whole = key in ("env", "secrets", "image") or not isinstance(value, dict)
        merged[key] = value if whole else _merged(merged.get(key) or {}, value)
    return merged


def _changed(call: Call, found: Endpoint, change: Callable[[Endpoint], Endpoint]) -> Response:
    changed = call.hub.endpoints.update(found.namespace, found.body.name, change)
    call.hub.board.ask(changed.uid, changed.place)
    return JSONResponse(describe(call, changed))


def pause(call: Call) -> Response:
    """POST pause: ends it until somebody resumes it."""
    found = _found(call, write=True)
    return _changed(call, found, lambda e: e.model_copy(update={"wanted": "paused"}))


def resume(call: Call) -> Response:
    """POST resume: ends a pause, or tries again what failed."""
    found = _found(call, write=True)
    if _STATES.get(_status(call, found).stage) in ("running", "initializing", "pending", "updating"):
        raise bad_request(f"Endpoint {found.body.name} is already running")
    return _changed(call, found, lambda e: e.model_copy(update={"wanted": "running", "restarts": e.restarts + 1}))


def scale_to_zero(call: Call) -> Response:
    """POST scale-to-zero: ends it until the next request."""
    found = _found(call, write=True)
    if found.wanted == "paused":
        raise bad_request(f"Endpoint {found.body.name} is paused: resume it first")
    return _changed(call, found, lambda e: e.model_copy(update={"wanted": "scaledToZero"}))


def delete(call: Call) -> Response:
    """DELETE endpoint/NAMESPACE/NAME."""
    found = _found(call, write=True)
    call.hub.endpoints.delete(found.namespace, found.body.name)
    call.hub.board.ask(found.uid, found.place)
    return JSONResponse({"success": True})


def logs(call: Call) -> Response:
    """GET endpoint/NAMESPACE/NAME/logs: what was built and what the handler printed."""
    found = _found(call)
    board = call.hub.board
    return PlainTextResponse(text_of(board.log(found.uid, "build")) + text_of(board.log(found.uid, "run")))


def providers(call: Call) -> Response:
    """GET provider/NAMESPACE: every machine, by vendor and region."""
    _namespace(call)
    return JSONResponse({"vendors": catalog.vendors()})


def vendors(_: Call) -> Response:
    """GET provider."""
    return JSONResponse({"items": [{k: v for k, v in one.items() if k != "regions"} for one in catalog.vendors()]})


def regions(call: Call) -> Response:
    """GET provider/VENDOR/region."""
    return JSONResponse({"items": [{k: v for k, v in r.items() if k != "computes"} for r in _regions(call)]})


def computes(call: Call) -> Response:
    """GET provider/VENDOR/region/REGION/compute."""
    for region in _regions(call):
        if region["name"] == call.params["region"]:
            return JSONResponse({"items": region["computes"]})
    raise HubError(404, "Region not found")


def _regions(call: Call) -> list[dict[str, Any]]:
    for vendor in catalog.vendors():
        if vendor["name"] == call.params["vendor"]:
            return list(vendor["regions"])
    raise HubError(404, "Vendor not found")


_ALL = "/v2/endpoint/{namespace:part}"
_ONE = f"{_ALL}/{{endpoint:part}}"

ROUTES = [
    Route(_ALL, endpoint(list_all)),
    Route(_ALL, endpoint(create), methods=["POST"]),
    Route(_ONE, endpoint(show)),
    Route(_ONE, endpoint(update), methods=["PUT"]),
    Route(_ONE, endpoint(delete), methods=["DELETE"]),
    Route(f"{_ONE}/pause", endpoint(pause), methods=["POST"]),
    Route(f"{_ONE}/resume", endpoint(resume), methods=["POST"]),
    Route(f"{_ONE}/scale-to-zero", endpoint(scale_to_zero), methods=["POST"]),
    Route(f"{_ONE}/logs", endpoint(logs)),
    Route("/v2/provider", endpoint(vendors)),
    Route("/v2/provider/{namespace:part}", endpoint(providers)),
    Route("/v2/provider/{vendor:part}/region", endpoint(regions)),
    Route("/v2/provider/{vendor:part}/region/{region:part}/compute", endpoint(computes)),
]
