"""Post-receive hook for an origin on this machine: reports a push to Prefect, like the webhook of a git host.

    python -m local.post_receive_hook ROOT

The hook emits the event `conceptry.git.pushed`, which triggers the deployment `watch`. If no server is running no push
is lost, because the watcher also reads git on a schedule. `git push` waits for the hook, so it imports little.
"""

from __future__ import annotations

import base64
import json
import shlex
import sys
import tomllib
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from tasks.processes import python_module

HOOK = Path("hooks", "post-receive")
"""Path of the hook in a bare repository."""
_PATIENCE = 5.0


def install(origin: Path, root: Path) -> None:
    """Install the hook in the bare repository `origin`, for the set-up in `root`."""
    hook = origin / HOOK
    hook.parent.mkdir(exist_ok=True)
    command = shlex.join(python_module("local.post_receive_hook", str(root)))
    hook.write_text(f"#!/bin/sh\nexec {command}\n", encoding="utf-8")
    hook.chmod(0o755)


def main(root: Path) -> None:
    """Send the event to the Prefect server of the set-up in `root`."""
    setup = tomllib.loads((root / "conceptry.toml").read_text(encoding="utf-8"))
    event = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "conceptry.git.pushed",
        "resource": {"prefect.resource.id": "conceptry.git.origin"},
        "payload": {},
    }
    api, headers, client = (
        f"http://127.0.0.1:{setup['prefect_port']}/api",
        {"Content-Type": "application/json"},
        uuid4().hex,
    )
    if auth := setup.get("prefect_auth"):
        headers["Authorization"] = f"Basic {base64.b64encode(auth.encode()).decode()}"
        answer = _request(f"{api}/csrf-token?client={client}", headers)
        headers |= {"Prefect-Csrf-Client": client, "Prefect-Csrf-Token": json.loads(answer)["token"]}
    _request(f"{api}/events", headers, json.dumps([event]).encode())


def _request(address: str, headers: Mapping[str, str], body: bytes | None = None) -> bytes:
    """Send a request to a server on this machine and return the answer."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(urllib.request.Request(address, body, dict(headers)), timeout=_PATIENCE) as answer:
        return bytes(answer.read())


if __name__ == "__main__":
    with suppress(OSError, KeyError, ValueError):  # without a set-up or a server the push must still succeed
        main(Path(sys.argv[1]))
