"""Spaces: their settings, their runtime status and their logs. The supervisor (see apps) runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from emulators.hub import webhook_events
from emulators.hub.apps.app_logs import events
from emulators.hub.apps.control_dir import Stage, Status
from emulators.hub.apps.desired_state import APP_FILES, desired_space
from emulators.hub.context import Call, Hub, endpoint, identify
from emulators.hub.http_errors import HubError, bad_request
from emulators.hub.names import Kind
from emulators.hub.quotas import check_hardware
from emulators.hub.repo_listing import Summary, subdomain, timestamp
from emulators.hub.storage import Repo, SpaceSettings
from emulators.hub.url_patterns import REPO

Sdk = Literal["gradio", "docker", "static", "streamlit"]
_BUSY = (Stage.BUILDING, Stage.APP_STARTING, Stage.RUNNING, Stage.RUNNING_BUILDING)
HARDWARE = ("cpu-basic", "cpu-upgrade", "t4-small", "t4-medium", "l4x1", "a10g-small", "a10g-large", "a100-large")


class Variable(BaseModel):
    """A variable or a secret as the client sends it."""

    key: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")
    value: str = Field(default="", max_length=32_768)
    description: str = Field(default="", max_length=1000)

    def stored(self) -> dict[str, str]:
        """Return the form that hub.json stores."""
        return {"value": self.value, "description": self.description, "updatedAt": timestamp(datetime.now(UTC))}


class SpaceRequest(BaseModel):
    """The part of a create request that is about Spaces."""

    model_config = ConfigDict(extra="ignore")

    sdk: str | None = None
    hardware: str | None = None
    sleepTimeSeconds: int | None = None  # noqa: N815 - the protocol's name
    secrets: list[Variable] = Field(default_factory=list)
    variables: list[Variable] = Field(default_factory=list)

    def apply(self) -> SpaceSettings:
        """Return the settings of a new Space.

        Raises:
            HubError: the sdk or the hardware is unknown (400).
        """
        if self.sdk not in APP_FILES:
            raise bad_request(f"A Space needs an sdk, one of {', '.join(APP_FILES)}")
        return SpaceSettings(
            sdk=self.sdk,
            hardware=_hardware(self.hardware or HARDWARE[0]),
            sleep_time=self.sleepTimeSeconds,
            secrets={v.key: v.stored() for v in self.secrets},
            variables={v.key: v.stored() for v in self.variables},
        )


class HardwareRequest(BaseModel):
    """Body of POST hardware."""

    flavor: str
    sleepTimeSeconds: int | None = None  # noqa: N815


class SleepRequest(BaseModel):
    """Body of POST sleeptime."""

    seconds: int


def _hardware(name: str) -> str:
    if name not in HARDWARE:
        raise bad_request(f"Unknown hardware {name!r}; it is one of {', '.join(HARDWARE)}")
    return name


def status_of(hub: Hub, repo: Repo, summary: Summary) -> Status:
    """Return the status of a Space; a status of an earlier desired state does not count."""
    desired, status = desired_space(repo, summary), hub.control.status(repo.settings.uid)
    address = status.address if status else None
    if desired.paused:
        return Status(stage=Stage.PAUSED, address=address)
    if desired.error:
        stage, message = desired.error
        return Status(stage=stage, message=message, address=address)
    if not hub.control.is_supervised():
        return Status(stage=Stage.STOPPED)
    if status is None or status.version != desired.version or status.stage == Stage.PAUSED:
        was_running = status is not None and status.stage in (Stage.RUNNING, Stage.RUNNING_BUILDING)
        return Status(stage=Stage.RUNNING_BUILDING if was_running else Stage.BUILDING, address=address)
    return status


def runtime(call: Call, repo: Repo, summary: Summary) -> dict[str, Any]:
    """Describe a Space's runtime as the client reads it."""
    space, status = repo.settings.space or SpaceSettings(), status_of(call.hub, repo, summary)
    running = status.stage in (Stage.RUNNING, Stage.RUNNING_BUILDING)
    described: dict[str, Any] = {
        "stage": status.stage,
        "hardware": {"current": space.hardware if running else None, "requested": space.hardware},
        "storage": None,
        "gcTimeout": space.sleep_time,
        "replicas": {"current": int(running), "requested": 1},
        "devMode": False,
        "domains": [],
        "sha": status.commit or summary.sha,
    }
    if status.message:
        described["errorMessage"] = status.message
    if status.address:
        address = call.public_address(status.address)
        described["domains"] = [{"domain": address.partition("://")[2], "stage": "READY" if running else "PENDING"}]
        described["host"] = address
    return described


def _space(call: Call, *, write: bool) -> Repo:
    return call.find(Kind.SPACE, call.params["owner"], call.params["name"], write=write)


def _change(call: Call, change: Callable[[SpaceSettings], SpaceSettings]) -> Repo:
    changed = call.hub.repos.update(
        _space(call, write=True),
        lambda now: now.model_copy(update={"space": change(now.space or SpaceSettings())}),
    )
    webhook_events.emit(call, changed, "update", "repo.config")
    call.hub.request_reconcile(changed)
    return changed


def _runtime_of(call: Call, repo: Repo) -> Response:
    return JSONResponse(runtime(call, repo, call.hub.summaries.of(repo)))


def get_runtime(call: Call) -> Response:
    """Answer GET runtime."""
    return _runtime_of(call, _space(call, write=False))


def pause(call: Call) -> Response:
    """Answer POST pause."""
    return _runtime_of(call, _change(call, lambda s: s.model_copy(update={"paused": True})))


def restart(call: Call) -> Response:
    """Answer POST restart: end a pause or retry; with `factory` the requirements are installed anew."""
    fresh = call.flag("factory")

    def change(space: SpaceSettings) -> SpaceSettings:
        number = space.restarts + 1
        return space.model_copy(
            update={"paused": False, "restarts": number, "fresh_at": number if fresh else space.fresh_at}
        )

    return _runtime_of(call, _change(call, change))


def host(call: Call) -> Response:
    """Answer GET host: the address of the running app."""
    repo = _space(call, write=False)
    status = status_of(call.hub, repo, call.hub.summaries.of(repo))
    if status.address is None:
        raise HubError(404, f"{repo.id} has no address: it never ran here")
    return JSONResponse({"subdomain": subdomain(repo.id), "host": call.public_address(status.address)})


async def logs(request: Request) -> Response:
    """Answer GET logs/build or logs/run, as server-sent events."""
    call = identify(request)
    repo = await run_in_threadpool(_space, call, write=True)
    control, uid = call.hub.control, repo.settings.uid
    path = control.log(uid, "build" if call.params["log"] == "build" else "run")

    def is_growing() -> bool:
        status = control.status(uid)
        return control.is_supervised() and status is not None and status.stage in _BUSY

    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(events(path, is_growing), media_type="text/event-stream", headers=headers)


def hardware(call: Call) -> Response:
    """Answer POST hardware."""
    payload, owner = call.json(HardwareRequest), _space(call, write=True).id.owner
    check_hardware(call.writer(), owner, payload.flavor, HARDWARE[0])
    update: dict[str, Any] = {"hardware": _hardware(payload.flavor)}
    if payload.sleepTimeSeconds is not None:
        update["sleep_time"] = payload.sleepTimeSeconds
    return _runtime_of(call, _change(call, lambda s: s.model_copy(update=update)))


def sleep_time(call: Call) -> Response:
    """Answer POST sleeptime."""
    seconds = call.json(SleepRequest).seconds
    return _runtime_of(call, _change(call, lambda s: s.model_copy(update={"sleep_time": seconds})))


def list_hardware(_: Call) -> Response:
    """Answer GET /api/spaces/hardware."""
    return JSONResponse(
        [
            {"name": name, "prettyName": name, "cpu": "", "ram": "", "accelerator": None, "unitCostMicroUSD": 0}
            | {"unitCostUSD": 0.0, "unitLabel": "minute"}
            for name in HARDWARE
        ]
    )


def _shown(values: Mapping[str, Mapping[str, str]], *, secret: bool) -> Response:
    hidden = {"value"} if secret else set()
    return JSONResponse({k: {f: x for f, x in v.items() if f not in hidden} for k, v in values.items()})


def variables(call: Call) -> Response:
    """GET, POST and DELETE of secrets and variables; values of secrets are never returned."""
    table = call.params["table"]
    if call.request.method == "GET":
        settings = _space(call, write=table == "secrets").settings.space or SpaceSettings()
        return _shown(getattr(settings, table), secret=table == "secrets")
    payload, adding = call.json(Variable), call.request.method == "POST"

    def change(space: SpaceSettings) -> SpaceSettings:
        values = {k: v for k, v in getattr(space, table).items() if k != payload.key}
        return space.model_copy(update={table: values | ({payload.key: payload.stored()} if adding else {})})

    changed = _change(call, change).settings.space or SpaceSettings()
    return _shown(getattr(changed, table), secret=table == "secrets")


_SPACE = REPO.replace("{kind:kind}", "spaces")

ROUTES = [
    Route("/api/spaces/hardware", endpoint(list_hardware)),
    Route(f"{_SPACE}/runtime", endpoint(get_runtime)),
    Route(f"{_SPACE}/host", endpoint(host)),
    Route(f"{_SPACE}/logs/{{log:part}}", logs),
    Route(f"{_SPACE}/pause", endpoint(pause), methods=["POST"]),
    Route(f"{_SPACE}/restart", endpoint(restart), methods=["POST"]),
    Route(f"{_SPACE}/hardware", endpoint(hardware), methods=["POST"]),
    Route(f"{_SPACE}/sleeptime", endpoint(sleep_time), methods=["POST"]),
    Route(f"{_SPACE}/{{table:table}}", endpoint(variables), methods=["GET", "POST", "DELETE"]),
]
