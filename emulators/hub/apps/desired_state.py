"""What should run: read from a Space or an endpoint as it is now, never from memory of what happened."""

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
from emulators.hub.endpoints import Endpoint
from emulators.hub.listing import Summary
from emulators.hub.storage import Repo, SpaceSettings

APP_FILES = {"gradio": "app.py", "streamlit": "app.py", "docker": "Dockerfile", "static": "index.html"}
# Downloads to machines with PyTorch leave out what other frameworks read: a folder named so never arrives.
NOT_FOR_PYTORCH = ("tf*", "rust*", "*onnx*", "*mlmodel", "*tflite", "*openvino*")
_TOOLKIT = Path(__file__).with_name("toolkit.py")

Access = Literal["everybody", "accounts", "owners"]


@dataclass(frozen=True)
class Wish:
    """What should become of one app.

    `version` changes with everything that needs a new process. `wrong` is a stage and a message when the app cannot
    run as it is. `asleep` means that it is to wait for its next visitor. `sleep_after` is in seconds.
    """

    uid: str
    place: str
    kind: Literal["space", "endpoint"]
    owner: str
    version: str
    commit: str
    repo: Repo
    access: Access
    paused: bool = False
    asleep: bool = False
    wrong: tuple[str, str] | None = None
    sleep_after: float | None = None
    sleepy: bool = True
    requirements: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    fresh: bool = False
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    arguments: tuple[str, ...] = ()

    def needs_change(self, before: Wish) -> bool:
        """Whether an app that is as was wished before has to become something else."""
        return (self.version, self.paused, self.asleep, self.wrong) != (
            before.version,
            before.paused,
            before.asleep,
            before.wrong,
        )

    def variables(self, folder: Path, home: Path, port: int, address: str) -> dict[str, str]:
        """The app's environment."""
        own = {"HOME": str(home), "HF_HOME": str(home / "huggingface"), "PORT": str(port)}
        own |= {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
        own |= {"HF_MODEL_DIR": str(folder)} if self.kind == "endpoint" else {"SPACE_HOST": address.split("://")[1]}
        return own | dict(self.environment)

    def command(self, python: Path, folder: Path, port: int) -> list[str]:
        """The app's command line; it is to listen on 127.0.0.1 at `port`."""
        filled = [a.replace("{folder}", str(folder)).replace("{port}", str(port)) for a in self.arguments]
        return [str(python), *filled]


def space_wish(repo: Repo, summary: Summary) -> Wish:
    """What a Space should be, by its main branch and its settings."""
    space = repo.settings.space or SpaceSettings()
    sdk = _text(summary.card.get("sdk")) or space.sdk
    app = _text(summary.card.get("app_file")) or APP_FILES.get(sdk, "app.py")
    paths = {entry.path for entry in summary.files}
    wrong = None
    if sdk not in APP_FILES:
        wrong = (Stage.CONFIG_ERROR, f"Unknown sdk {sdk[:40]!r} in the card")
    elif app not in paths:
        wrong = (Stage.NO_APP_FILE, f"There is no {app[:200]}")
    elif sdk == "docker":
        wrong = (Stage.CONFIG_ERROR, "This hub runs no containers: use the sdk gradio, streamlit or static")
    # Not SYSTEM=spaces: with it Gradio looks for parts of the Hub's own images.
    environment = {
        "SPACE_ID": str(repo.id),
        "SPACE_AUTHOR_NAME": repo.id.owner,
        "SPACE_REPO_NAME": repo.id.name,
        "SPACE_TITLE": _text(summary.card.get("title")) or repo.id.name,
        **_values(space.variables),
        **_values(space.secrets),
    }
    version = _version(str(repo.id), summary.sha, space.hardware, space.restarts, environment)
    return Wish(
        uid=repo.settings.uid,
        place=repo.id.key,
        kind="space",
        owner=repo.id.owner,
        version=version,
        commit=summary.sha,
        repo=repo,
        access="owners" if repo.settings.private else "everybody",
        paused=space.paused,
        wrong=wrong,
        sleep_after=float(space.sleep_time) if space.sleep_time and space.sleep_time > 0 else None,
        requirements=_sdk_requirements(sdk, summary.card.get("sdk_version")),
        fresh=space.fresh_at == space.restarts,
        environment=environment,
        arguments=_arguments(sdk, app),
    )


def endpoint_wish(endpoint: Endpoint, repo: Repo | None) -> Wish | None:
    """What an endpoint should be; none when its model repo is gone."""
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
    skipped = NOT_FOR_PYTORCH if model.framework in ("pytorch", "custom") else ()
    timeout = scaling.scaleToZeroTimeout
    return Wish(
        uid=endpoint.uid,
        place=endpoint.place,
        kind="endpoint",
        owner=endpoint.namespace,
        version=version,
        commit=endpoint.commit,
        repo=repo,
        access={"public": "everybody", "private": "owners"}.get(endpoint.body.type, "accounts"),  # type: ignore[arg-type]
        paused=endpoint.wanted == "paused",
        asleep=endpoint.wanted == "scaledToZero",
        sleep_after=60.0 * timeout if timeout and scaling.minReplica == 0 else None,
        sleepy=scaling.minReplica == 0,
        skipped=skipped,
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
