"""A post-receive hook for an origin on this machine: tells Prefect of the push, as a forge's webhook would.

    python -m local.post_receive_hook ROOT

It sends the event `conceptry.git.pushed`, which the deployment `watch` waits for. When no server listens nothing is
lost: the watcher looks at git every now and then anyway. Git runs this while somebody waits for `git push`, so it
imports next to nothing.
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
    """Let the bare repository `origin` tell the set-up in `root` of every push."""
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
    with suppress(OSError, KeyError):  # no set-up there yet: whoever pushes must not suffer for it
        main(Path(sys.argv[1]))
