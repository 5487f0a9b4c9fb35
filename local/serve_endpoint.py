"""Inference Endpoint handler of a published version, served on this machine."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from conceptry.errors import ConceptryError
from conceptry.installation import Installation
from conceptry.version import Version
from conceptry.version_ref import VersionRef
from local.child_process import Child, answers, environment_without_credentials, free_port
from local.serve_playground import run_child, run_version
from local.version_folder import manifest_of, title_of, weights_variables
from tasks.hub import HubSession, download
from tasks.processes import python_module

_SERVER = "emulators.hub.apps.toolkit"


def serve(root: Path | None, ref: VersionRef, port: int) -> None:
    """Fetch a version as an endpoint would and serve its handler on loopback until Ctrl-C.

    Raises:
        ConceptryError: the version does not exist, or has no handler.
    """

    def server(
        installation: Installation, session: HubSession, name: str, version: Version
    ) -> tuple[Child, str | None]:
        folder = fetch(installation, session, name, version)
        made = _server(folder, free_port(port), weights_variables(installation.base_dir), folder.with_suffix(".log"))
        return made, how_to_call(folder, made.title)

    run_version(root, ref, "the endpoint", server)


def serve_folder(folder: Path, port: int) -> None:
    """Serve the handler of a version's files in a folder, without a Hub, until Ctrl-C.

    Raises:
        ConceptryError: the folder holds no version, or one without a handler.
    """
    manifest = manifest_of(folder)
    if not (folder / "handler.py").is_file():
        raise ConceptryError("has no handler.py", file=str(folder), next_step="pull the whole version again")
    with tempfile.TemporaryDirectory(prefix="conceptry-endpoint-") as scratch:
        made = _server(folder, free_port(port), weights_variables(), Path(scratch) / "endpoint.log")
        run_child(made, title_of(manifest), "the endpoint", hint=how_to_call(folder, made.title))


def fetch(installation: Installation, session: HubSession, name: str, version: Version) -> Path:
    """Download the version's files at its exact commit to a folder; return it.

    Raises:
        ConceptryError: the version has no handler.
    """
    place = installation.work.root / "endpoint" / f"{name}-{version.name}"
    shutil.rmtree(place, ignore_errors=True)
    download(session, name, version.commit, place)
    if not (place / "handler.py").is_file():
        raise ConceptryError(f"{version.name} has no handler.py", concept=name, next_step="publish a newer version")
    return place


def how_to_call(folder: Path, address: str) -> str:
    """Return a curl command that calls the endpoint."""
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    body = json.dumps({"inputs": next(iter(settings.get("examples") or ()), "a photo"), "parameters": {"seed": 7}})
    quoted = body.replace("'", "'\\''")
    headers = "-H 'Content-Type: application/json' -H 'Accept: image/png'"
    return f"curl {address} {headers} -d '{quoted}' -o picture.png"


def _server(folder: Path, port: int, base_dir: dict[str, str], log: Path) -> Child:
    environment = environment_without_credentials() | base_dir | {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"}
    address = f"http://127.0.0.1:{port}"
    command = python_module(_SERVER, "--model-dir", str(folder), "--port", str(port))
    return Child(address, command, environment, log, lambda: answers(f"{address}/health"), log.parent)
