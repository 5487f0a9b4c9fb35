"""Post-receive hook for an origin on this machine: reports a push to Prefect, like the webhook of a git host.

    python -m local.post_receive_hook ROOT

The hook emits the event `conceptry.git.pushed`, which triggers the deployment `watch`. If no server is running no push
is lost, because the watcher also reads git on a schedule. `git push` waits for the hook, so it imports little.
"""

from __future__ import annotations

import json
import shlex
import sys
import tomllib
import urllib.request
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from tasks.processes import python_module

_PATIENCE = 5.0


def install(origin: Path, root: Path) -> None:
    """Install the hook in the bare repository `origin`, for the set-up in `root`."""
    hook = origin / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    command = shlex.join(python_module("local.post_receive_hook", str(root)))
    hook.write_text(f"#!/bin/sh\nexec {command}\n", encoding="utf-8")
    hook.chmod(0o755)


def main(root: Path) -> None:
    """Send the event to the Prefect server of the set-up in `root`."""
    port = tomllib.loads((root / "conceptry.toml").read_text(encoding="utf-8"))["prefect_port"]
    event = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "conceptry.git.pushed",
        "resource": {"prefect.resource.id": "conceptry.git.origin"},
        "payload": {},
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/events",
        json.dumps([event]).encode(),
        {"Content-Type": "application/json"},
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError), direct.open(request, timeout=_PATIENCE):
        pass


if __name__ == "__main__":
    with suppress(OSError, KeyError):  # without a set-up or a server the push must still succeed
        main(Path(sys.argv[1]))
