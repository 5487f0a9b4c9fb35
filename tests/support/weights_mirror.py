"""A mirror of the tiny model's weights, and rendered folders that lack them: Spaces and endpoints fetch at start."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).resolve().parents[2] / "trainer" / "tiny"
NAMES = ("tiny.safetensors", "merges.txt.gz")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def mirror(folder: Path = WEIGHTS) -> Iterator[str]:
    """Serve a folder; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def without_weights(folder: Path) -> Path:
    """Take the weights out of a rendered Space or version."""
    for name in NAMES:
        (folder / "trainer" / "tiny" / name).unlink()
    return folder
