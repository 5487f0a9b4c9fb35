"""The desired state of apps, computed from a Space's or an endpoint's current settings, never from past events."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from emulators.host import inherited_environment
from emulators.hub.apps.control_dir import Stage
from emulators.hub.config import AppsConfig
from emulators.hub.endpoint_store import Endpoint
from emulators.hub.repo_listing import Summary
from emulators.hub.storage import Repo, SpaceSettings

APP_FILES = {"gradio": "app.py", "streamlit": "app.py", "docker": "Dockerfile", "static": "index.html"}
# The client leaves these out of downloads to machines with PyTorch, so a folder of such a name never arrives there.
NOT_FOR_PYTORCH = ("tf*", "rust*", "*onnx*", "*mlmodel", "*tflite", "*openvino*")
_TOOLKIT = Path(__file__).with_name("toolkit.py")

Visibility = Literal["public", "authenticated", "private"]


@dataclass(frozen=True)
class DesiredApp:
    """The desired state of one app.

    Attributes:
        uid: id of the Space or endpoint.
        key: where its settings are kept, KIND/OWNER/NAME.
        version: digest of everything that needs a new process when it changes.
        visibility: who may send requests to it: everyone, every account, or accounts of the owner.
        asleep: it starts with the next request.
        error: stage and message of an app that cannot run as it is.
        sleep_after: seconds without a request after which it goes to sleep; none for never.
        may_sleep: it may be put to sleep to make room for another app.
        requirements: what the SDK needs besides requirements.txt.
        excluded: patterns of paths that are not checked out.
        reinstall: install the requirements anew.
        environment: variables of its own, which win over those of every app.
        arguments: of its Python; {folder} and {port} stand for the checkout and the port to listen on.
    """

    uid: str
    key: str
    kind: Literal["space", "endpoint"]
    owner: str
    version: str
    commit: str
    repo: Repo
    visibility: Visibility
    paused: bool = False
    asleep: bool = False
    error: tuple[Stage, str] | None = None
    sleep_after: float | None = None
    may_sleep: bool = True
    requirements: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    reinstall: bool = False
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    arguments: tuple[str, ...] = ()

    def needs_change(self, before: DesiredApp) -> bool:
        """Whether an app in the state `before` has to change."""
        return (self.version, self.paused, self.asleep, self.error) != (
            before.version,
            before.paused,
            before.asleep,
            before.error,
        )

    def variables(self, folder: Path, home: Path, port: int, address: str) -> dict[str, str]:
        """Return the variables that this app has besides those of every app."""
        own = {"HOME": str(home), "HF_HOME": str(home / "huggingface"), "PORT": str(port)}
        own |= {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
        own |= {"HF_MODEL_DIR": str(folder)} if self.kind == "endpoint" else {"SPACE_HOST": address.split("://")[1]}
        return own | dict(self.environment)

    def command(self, python: Path, folder: Path, port: int) -> list[str]:
        """Return the app's command line; the app must listen on 127.0.0.1 at `port`."""
        filled = [a.replace("{folder}", str(folder)).replace("{port}", str(port)) for a in self.arguments]
        return [str(python), *filled]


def desired_space(repo: Repo, summary: Summary) -> DesiredApp:
    """Compute the desired state of a Space from its main branch and its settings."""
    space = repo.settings.space or SpaceSettings()
    sdk = _text(summary.card.get("sdk")) or space.sdk
    app = _text(summary.card.get("app_file")) or APP_FILES.get(sdk, "app.py")
    paths = {entry.path for entry in summary.files}
    error = None
    if sdk not in APP_FILES:
        error = (Stage.CONFIG_ERROR, f"Unknown sdk {sdk[:40]!r} in the card")
    elif app not in paths:
        error = (Stage.NO_APP_FILE, f"There is no {app[:200]}")
    elif sdk == "docker":
        error = (Stage.CONFIG_ERROR, "This Hub runs no containers: use the sdk gradio, streamlit or static")
    # Without SYSTEM=spaces: with it Gradio expects files of the Hub's own images.
    environment = {
        "SPACE_ID": str(repo.id),
        "SPACE_AUTHOR_NAME": repo.id.owner,
        "SPACE_REPO_NAME": repo.id.name,
        "SPACE_TITLE": _text(summary.card.get("title")) or repo.id.name,
        **_values(space.variables),
        **_values(space.secrets),
    }
    version = _version(str(repo.id), summary.sha, space.hardware, space.restarts, environment)
    return DesiredApp(
        uid=repo.settings.uid,
        key=repo.id.key,
        kind="space",
        owner=repo.id.owner,
        version=version,
        commit=summary.sha,
        repo=repo,
        visibility="private" if repo.settings.private else "public",
        paused=space.paused,
        error=error,
        sleep_after=float(space.sleep_time) if space.sleep_time and space.sleep_time > 0 else None,
        requirements=_sdk_requirements(sdk, summary.card.get("sdk_version")),
        reinstall=space.fresh_at == space.restarts,
        environment=environment,
        arguments=_arguments(sdk, app),
    )


def desired_endpoint(endpoint: Endpoint, repo: Repo | None) -> DesiredApp | None:
    """Compute the desired state of an endpoint; none when its model repo is gone."""
    if repo is None:
        return None
    model, scaling = endpoint.body.model, endpoint.body.compute.scaling
    environment = {
        "HF_TASK": model.task or "custom",
        "HF_FRAMEWORK": model.framework,
        **model.env,
        **model.secrets,
    }
    version = _version(endpoint.uid, endpoint.commit, endpoint.restarts, environment)
    excluded = NOT_FOR_PYTORCH if model.framework in ("pytorch", "custom") else ()
    timeout = scaling.scaleToZeroTimeout
    return DesiredApp(
        uid=endpoint.uid,
        key=endpoint.key,
        kind="endpoint",
        owner=endpoint.namespace,
        version=version,
        commit=endpoint.commit,
        repo=repo,
        visibility={"public": "public", "private": "private"}.get(endpoint.body.type, "authenticated"),  # type: ignore[arg-type]
        paused=endpoint.wanted == "paused",
        asleep=endpoint.wanted == "scaledToZero",
        sleep_after=60.0 * timeout if timeout and scaling.minReplica == 0 else None,
        may_sleep=scaling.minReplica == 0,
        excluded=excluded,
        environment=environment,
        arguments=(str(_TOOLKIT), "--model-dir", "{folder}", "--port", "{port}"),
    )


def common_environment(hub: str, config: AppsConfig) -> dict[str, str]:
    """Return the variables of every app: the machine's, those that send clients to the Hub at `hub`, the config's."""
    given = {key: value.replace("{hub}", hub) for key, value in config.variables.items()}
    return inherited_environment(config.inherit) | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_ENDPOINT": hub,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "CPU_CORES": str(os.cpu_count() or 1),
        **given,
    }


def _arguments(sdk: str, app: str) -> tuple[str, ...]:
    if sdk == "static":
        folder = str(Path("{folder}") / Path(app).parent)
        return ("-m", "http.server", "{port}", "--bind", "127.0.0.1", "--directory", folder)
    if sdk == "streamlit":
        options = ("--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true")
        return ("-m", "streamlit", "run", app, *options, "--browser.gatherUsageStats=false")
    return (app,)


def _sdk_requirements(sdk: str, version: Any) -> tuple[str, ...]:
    if sdk not in ("gradio", "streamlit"):
        return ()
    pinned = f"=={version}" if isinstance(version, (str, int, float)) and str(version)[:1].isdigit() else ""
    return (f"{sdk}{pinned}",)


def _values(table: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {key: entry["value"] for key, entry in table.items()}


def _version(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
