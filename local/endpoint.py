"""`conceptry endpoint`: a published version's Inference Endpoint handler, on this machine."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from huggingface_hub import snapshot_download

from conceptry.errors import ConceptryError
from conceptry.settings import Settings
from conceptry.version import Version
from local.child_process import Child, answers, clean_environment, free_port
from local.playground import run_version, weights_of
from tasks.hub import HubTarget
from tasks.hub.client import telling

_SERVER = "emulators.hub.apps.toolkit"


def serve(root: Path | None, concept: str, port: int) -> None:
    """Fetch `NAME` or `NAME@vN` as an endpoint would, serve its handler on loopback and stay until Ctrl-C.

    Raises:
        ConceptryError: there is no such version, or it has no handler.
    """

    def server(target: HubTarget, settings: Settings, name: str, version: Version) -> tuple[Child, str | None]:
        folder = fetch(target, settings, name, version)
        made = _server(folder, free_port(port), weights_of(settings))
        return made, how_to_call(folder, made.title)

    run_version(root, concept, "the endpoint", server)


def fetch(target: HubTarget, settings: Settings, name: str, version: Version) -> Path:
    """The version's files at its exact commit, in a folder of their own.

    Raises:
        ConceptryError: it has no handler.
    """
    place = (settings.work / "endpoint" / f"{name}-{version.name}").absolute()
    shutil.rmtree(place, ignore_errors=True)
    token = settings.hub_token.get_secret_value() if settings.hub_token is not None else None
    with telling(target, f"fetching {version.name}", name=name):
        snapshot_download(
            target.repo(name), revision=version.commit, local_dir=place, endpoint=target.endpoint, token=token
        )
    if not (place / "handler.py").is_file():
        raise ConceptryError(f"{version.name} has no handler.py", concept=name, next_step="publish a newer version")
    return place


def how_to_call(folder: Path, address: str) -> str:
    """A line to paste into a terminal."""
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    body = json.dumps({"inputs": next(iter(settings.get("examples") or ()), "a photo"), "parameters": {"seed": 7}})
    quoted = body.replace("'", "'\\''")
    headers = "-H 'Content-Type: application/json' -H 'Accept: image/png'"
    return f"curl {address} {headers} -d '{quoted}' -o picture.png"


def _server(folder: Path, port: int, base_dir: dict[str, str]) -> Child:
    environment = clean_environment() | base_dir | {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"}
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", _SERVER, "--model-dir", str(folder), "--port", str(port)]
    log = folder.with_suffix(".log")
    return Child(address, command, environment, log, lambda: answers(f"{address}/health"), folder.parent)
