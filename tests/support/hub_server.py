"""Hubs for tests: three accounts, a config, a Hub in a process of its own, and a receiver of webhooks."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from emulators.hub.accounts import Account, Accounts, Organization
from emulators.hub.config import HubConfig

TOKENS = {"anna": "hf_anna", "ben": "hf_ben", "reader": "hf_reader"}
ANNA = {"Authorization": f"Bearer {TOKENS['anna']}"}
BEN = {"Authorization": f"Bearer {TOKENS['ben']}"}
ACCOUNTS = Accounts(
    [
        Account(
            name="anna",
            fullname="Anna A.",
            token=TOKENS["anna"],
            organizations=(Organization(name="team", private_by_default=True),),
        ),
        Account(name="ben", token=TOKENS["ben"]),
        Account(name="reader", token=TOKENS["reader"], role="read"),
    ]
)

VERDICTS = {
    "list": "registry.versions",
    "revision": "v{number}",
    "verdict": "verdict",
    "shown": ["passed", "rejected", "undecided"],
}
CONFIG = HubConfig.model_validate(
    {
        "pages": {"manifest": "manifest.json", "picture": "samples/grid.png", "verdicts": VERDICTS},
        "apps": {"inherit": ["APP_CACHE"], "variables": {"APP_API": "{hub}/v2"}},
    }
)
"""The config of an application that publishes models."""


@contextmanager
def hub_process(root: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `python -m emulators.hub` while the block runs; yields the process and the Hub's URL."""
    command = [sys.executable, "-m", "emulators.hub", "--root", str(root), "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline().split()
            assert line[0] == "hub:"
            yield child, line[1]
        finally:
            child.kill()


@dataclass
class WebhookReceiver:
    """A server that records webhooks; `answers` are the statuses of the next answers, then 200."""

    url: str
    arrived: "queue.Queue[tuple[dict[str, str], dict[str, Any]]]"
    answers: list[int]

    def next(self) -> dict[str, Any]:
        """Wait for the next payload."""
        return self.arrived.get(timeout=30)[1]


@contextmanager
def receiving_webhooks() -> Iterator[WebhookReceiver]:
    """Run a receiver of webhooks while the block runs."""
    arrived: queue.Queue[tuple[dict[str, str], dict[str, Any]]] = queue.Queue()
    answers: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            arrived.put((dict(self.headers), body))
            self.send_response(answers.pop(0) if answers else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield WebhookReceiver(f"http://127.0.0.1:{server.server_address[1]}/hook", arrived, answers)
        server.shutdown()
