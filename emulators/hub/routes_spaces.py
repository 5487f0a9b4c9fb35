"""Spaces: what they were asked to be. This hub keeps their state and does not run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulators.hub.access import Call, endpoint
from emulators.hub.addresses import REPO
from emulators.hub.errors import bad_request
from emulators.hub.listing import Summary, timestamp
from emulators.hub.names import Kind
from emulators.hub.storage import Repo, SpaceSettings

Sdk = Literal["gradio", "docker", "static", "streamlit"]
_APP_FILES = {"gradio": "app.py", "streamlit": "app.py", "docker": "Dockerfile", "static": "index.html"}
HARDWARE = ("cpu-basic", "cpu-upgrade", "t4-small", "t4-medium", "l4x1", "a10g-small", "a10g-large", "a100-large")


class Variable(BaseModel):
    """A variable or a secret, as the client writes it."""

    key: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")
    value: str = Field(default="", max_length=32_768)
    description: str = Field(default="", max_length=1000)

    def stored(self) -> dict[str, str]:
        """As hub.json keeps it."""
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
        """The settings of a new Space. Raises HubError (400) for an unknown sdk or hardware."""
        if self.sdk not in _APP_FILES:
            raise bad_request(f"A Space needs an sdk, one of {', '.join(_APP_FILES)}")
        return SpaceSettings(
            sdk=self.sdk,
            hardware=_hardware(self.hardware or HARDWARE[0]),
            sleep_time=self.sleepTimeSeconds,
            secrets={v.key: v.stored() for v in self.secrets},
            variables={v.key: v.stored() for v in self.variables},
        )


class HardwareRequest(BaseModel):
    """POST hardware."""

    flavor: str
    sleepTimeSeconds: int | None = None  # noqa: N815


class SleepRequest(BaseModel):
    """POST sleeptime."""

    seconds: int


def _hardware(name: str) -> str:
    if name not in HARDWARE:
        raise bad_request(f"Unknown hardware {name!r}; it is one of {', '.join(HARDWARE)}")
    return name


def runtime(repo: Repo, summary: Summary) -> dict[str, Any]:
    """A Space's runtime: STOPPED, since nothing runs here, unless it is paused or has no app yet."""
    space = repo.settings.space or SpaceSettings()
    card_sdk = summary.card.get("sdk")
    app = summary.card.get("app_file") or _APP_FILES.get(card_sdk if isinstance(card_sdk, str) else space.sdk, "app.py")
    stage = "STOPPED" if any(entry.path == app for entry in summary.files) else "NO_APP_FILE"
    if space.paused:
        stage = "PAUSED"
    return {
        "stage": stage,
        "hardware": {"current": None, "requested": space.hardware},
        "storage": None,
        "gcTimeout": space.sleep_time,
        "replicas": {"current": 0, "requested": 1},
        "devMode": False,
        "domains": [],
    }


def _space(call: Call, *, write: bool) -> Repo:
    return call.find(Kind.SPACE, call.params["owner"], call.params["name"], write=write)


def _change(call: Call, change: Callable[[SpaceSettings], SpaceSettings]) -> Repo:
    return call.hub.repos.update(
        _space(call, write=True),
        lambda now: now.model_copy(update={"space": change(now.space or SpaceSettings())}),
    )


def _runtime_of(call: Call, repo: Repo) -> Response:
    return JSONResponse(runtime(repo, call.hub.summaries.of(repo)))


def get_runtime(call: Call) -> Response:
    """GET runtime."""
    return _runtime_of(call, _space(call, write=False))


def pause(call: Call) -> Response:
    """POST pause."""
    return _runtime_of(call, _change(call, lambda s: s.model_copy(update={"paused": True})))


def restart(call: Call) -> Response:
    """POST restart: ends a pause."""
    return _runtime_of(call, _change(call, lambda s: s.model_copy(update={"paused": False})))


def hardware(call: Call) -> Response:
    """POST hardware."""
    asked = call.json(HardwareRequest)
    update: dict[str, Any] = {"hardware": _hardware(asked.flavor)}
    if asked.sleepTimeSeconds is not None:
        update["sleep_time"] = asked.sleepTimeSeconds
    return _runtime_of(call, _change(call, lambda s: s.model_copy(update=update)))


def sleep_time(call: Call) -> Response:
    """POST sleeptime."""
    seconds = call.json(SleepRequest).seconds
    return _runtime_of(call, _change(call, lambda s: s.model_copy(update={"sleep_time": seconds})))


def list_hardware(_: Call) -> Response:
    """GET /api/spaces/hardware."""
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
    """GET, POST and DELETE of secrets and variables; a secret's value never comes back."""
    table = call.params["table"]
    if call.request.method == "GET":
        settings = _space(call, write=table == "secrets").settings.space or SpaceSettings()
        return _shown(getattr(settings, table), secret=table == "secrets")
    asked, adding = call.json(Variable), call.request.method == "POST"

    def change(space: SpaceSettings) -> SpaceSettings:
        values = {k: v for k, v in getattr(space, table).items() if k != asked.key}
        return space.model_copy(update={table: values | ({asked.key: asked.stored()} if adding else {})})

    changed = _change(call, change).settings.space or SpaceSettings()
    return _shown(getattr(changed, table), secret=table == "secrets")


_SPACE = REPO.replace("{kind:kind}", "spaces")

ROUTES = [
    Route("/api/spaces/hardware", endpoint(list_hardware)),
    Route(f"{_SPACE}/runtime", endpoint(get_runtime)),
    Route(f"{_SPACE}/pause", endpoint(pause), methods=["POST"]),
    Route(f"{_SPACE}/restart", endpoint(restart), methods=["POST"]),
    Route(f"{_SPACE}/hardware", endpoint(hardware), methods=["POST"]),
    Route(f"{_SPACE}/sleeptime", endpoint(sleep_time), methods=["POST"]),
    Route(f"{_SPACE}/{{table:table}}", endpoint(variables), methods=["GET", "POST", "DELETE"]),
]
