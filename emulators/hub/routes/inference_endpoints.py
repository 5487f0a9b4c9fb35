"""Inference Endpoints: the API of api.endpoints.huggingface.cloud/v2, at /v2 of this Hub.

huggingface_hub.constants.INFERENCE_ENDPOINTS_ENDPOINT = f"{hub}/v2"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from emulators.hub import catalog, git_objects
from emulators.hub.accounts import Account
from emulators.hub.apps.app_logs import text_of
from emulators.hub.apps.control_dir import Stage, Status
from emulators.hub.apps.desired_state import desired_endpoint
from emulators.hub.context import Call, endpoint, reject_invalid
from emulators.hub.endpoint_store import Endpoint, EndpointBody, not_found
from emulators.hub.http_errors import HubError, bad_request, forbidden
from emulators.hub.names import is_repo_name
from emulators.hub.repo_listing import timestamp

_STATES = {
    Stage.BUILDING: "initializing",
    Stage.APP_STARTING: "initializing",
    Stage.RUNNING_BUILDING: "updating",
    Stage.RUNNING: "running",
    Stage.PAUSED: "paused",
    Stage.SLEEPING: "scaledToZero",
    Stage.STOPPED: "paused",
    Stage.PENDING: "pending",
}


class UpdateRequest(BaseModel):
    """Body of PUT endpoint/NAMESPACE/NAME: the parts that change, each as a whole or in its keys."""

    model_config = ConfigDict(extra="allow")

    compute: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    type: str | None = None
    tags: list[str] | None = None


def _namespace(call: Call, *, write: bool = False) -> str:
    """Return the namespace of the URL, if the sender is a member.

    Raises:
        HubError: the sender is anonymous (401), or no member (403).
    """
    name, account = call.params["namespace"], call.account
    if account is None:
        raise HubError(401, "Invalid username or password.")
    if not is_repo_name(name) or not account.is_member(name):
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
    """Describe an endpoint as the API does."""
    body = endpoint.body.model_dump()
    model = {k: v for k, v in body["model"].items() if k != "secrets"} | {"revision": endpoint.commit}
    model["task"] = model.get("task") or "custom"
    status = _status(call, endpoint)
    state = _STATES.get(status.stage, "failed")
    wanted = endpoint.body.compute.scaling.minReplica or 1
    running = state in ("running", "updating")
    described: dict[str, Any] = {
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
        described["url"] = call.public_address(status.address)
    compute = body["compute"] | {"id": catalog.compute_id(endpoint.body)}
    return body | {
        "model": model,
        "compute": compute,
        "status": described,
        "healthRoute": "/health",
        "accountId": None,
        "tags": list(endpoint.body.tags),
    }


def _status(call: Call, endpoint: Endpoint) -> Status:
    """Return the status of an endpoint; a status of an earlier desired state does not count."""
    desired = desired_endpoint(endpoint, call.hub.repos.named(endpoint.body.model.repository))
    if desired is None:
        return Status(stage=Stage.BUILD_ERROR, message=f"{endpoint.body.model.repository} does not exist any more")
    if desired.paused:
        return Status(stage=Stage.PAUSED, since=endpoint.updated_at)
    status = call.hub.control.status(endpoint.uid)
    if not call.hub.control.is_supervised():
        runs_none = call.hub.limits is None
        pending = "This Hub runs no apps: start it with --run" if runs_none else "Waiting for the supervisor"
        return Status(stage=Stage.PENDING, message=pending, since=endpoint.updated_at)
    if desired.asleep:
        return Status(stage=Stage.SLEEPING, address=status.address if status else None, since=endpoint.updated_at)
    if status is None or status.version != desired.version or status.stage == Stage.PAUSED:
        stage = Stage.RUNNING_BUILDING if status and status.stage == Stage.RUNNING else Stage.PENDING
        return Status(stage=stage, address=status.address if status else None, since=endpoint.updated_at)
    return status


def list_all(call: Call) -> Response:
    """Answer GET endpoint/NAMESPACE."""
    namespace = _namespace(call)
    return JSONResponse({"items": [describe(call, e) for e in call.hub.endpoints.all(namespace)]})


def create(call: Call) -> Response:
    """Answer POST endpoint/NAMESPACE."""
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
    call.hub.control.request_reconcile(made.uid, made.key)
    return JSONResponse(describe(call, made))


def _commit(call: Call, account: Account, repository: str, revision: str | None) -> str:
    """Return the commit to deploy: an endpoint keeps it when its branch moves.

    Raises:
        HubError: repo or revision are missing (404), or the repo is gated (403).
    """
    repo = call.hub.repos.named(repository)
    if repo is None or not call.hub.may_read(account, repo):
        raise HubError(404, f"Repository {repository[:200]} not found")
    return git_objects.resolve(call.require_file_access(repo).git(), revision or "main")


def show(call: Call) -> Response:
    """Answer GET endpoint/NAMESPACE/NAME."""
    return JSONResponse(describe(call, _found(call)))


def update(call: Call) -> Response:
    """Answer PUT endpoint/NAMESPACE/NAME: change the machine, the revision or the variables."""
    found, payload = _found(call, write=True), call.json(UpdateRequest)
    account = call.writer()
    given = payload.model_dump(exclude_none=True)

    def change(now: Endpoint) -> Endpoint:
        body = EndpointBody.model_validate(_merged(now.body.model_dump(), given))
        commit = now.commit
        if "repository" in payload.model or "revision" in payload.model:
            commit = _commit(call, account, body.model.repository, payload.model.get("revision"))
        return now.model_copy(update={"body": body, "commit": commit})

    with reject_invalid():
        if problem := catalog.problem(change(found).body):
            raise bad_request(problem)
        return _changed(call, found, change)


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Merge `new` into `old`, key by key; tables of variables are replaced as a whole."""
    merged = dict(old)
    for key, value in new.items():
        whole = key in ("env", "secrets", "image") or not isinstance(value, dict)
        merged[key] = value if whole else _merged(merged.get(key) or {}, value)
    return merged


def _changed(call: Call, found: Endpoint, change: Callable[[Endpoint], Endpoint]) -> Response:
    changed = call.hub.endpoints.update(found.namespace, found.body.name, change)
    call.hub.control.request_reconcile(changed.uid, changed.key)
    return JSONResponse(describe(call, changed))


def pause(call: Call) -> Response:
    """Answer POST pause: end the app until it is resumed."""
    found = _found(call, write=True)
    return _changed(call, found, lambda e: e.model_copy(update={"wanted": "paused"}))


def resume(call: Call) -> Response:
    """Answer POST resume: end a pause, or retry after a failure."""
    found = _found(call, write=True)
    if _STATES.get(_status(call, found).stage) in ("running", "initializing", "pending", "updating"):
        raise bad_request(f"Endpoint {found.body.name} is already running")
    return _changed(call, found, lambda e: e.model_copy(update={"wanted": "running", "restarts": e.restarts + 1}))


def scale_to_zero(call: Call) -> Response:
    """Answer POST scale-to-zero: end the app until the next request."""
    found = _found(call, write=True)
    if found.wanted == "paused":
        raise bad_request(f"Endpoint {found.body.name} is paused: resume it first")
    return _changed(call, found, lambda e: e.model_copy(update={"wanted": "scaledToZero"}))


def delete(call: Call) -> Response:
    """Answer DELETE endpoint/NAMESPACE/NAME."""
    found = _found(call, write=True)
    call.hub.endpoints.delete(found.namespace, found.body.name)
    call.hub.control.request_reconcile(found.uid, found.key)
    return JSONResponse({"success": True})


def logs(call: Call) -> Response:
    """Answer GET endpoint/NAMESPACE/NAME/logs: the build log, then the handler's output."""
    found = _found(call)
    control = call.hub.control
    return PlainTextResponse(text_of(control.log(found.uid, "build")) + text_of(control.log(found.uid, "run")))


def providers(call: Call) -> Response:
    """Answer GET provider/NAMESPACE: every machine, by vendor and region."""
    _namespace(call)
    return JSONResponse({"vendors": catalog.vendors()})


def vendors(_: Call) -> Response:
    """Answer GET provider."""
    return JSONResponse({"items": [{k: v for k, v in one.items() if k != "regions"} for one in catalog.vendors()]})


def regions(call: Call) -> Response:
    """Answer GET provider/VENDOR/region."""
    return JSONResponse({"items": [{k: v for k, v in r.items() if k != "computes"} for r in _regions(call)]})


def computes(call: Call) -> Response:
    """Answer GET provider/VENDOR/region/REGION/compute."""
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
