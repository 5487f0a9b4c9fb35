"""The connection to Prefect, over a server that is busy for a moment."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import prefect
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.prefect_client import PAUSES, BusyServerTransport, connected


class Busy(BaseHTTPRequestHandler):
    """Answers 503 as often as its server says, then what it was sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1  # type: ignore[attr-defined]
        busy = self.server.asked <= self.server.busy  # type: ignore[attr-defined]
        self.send_response(503 if busy else 201)
        self.send_header("Content-Length", "0" if busy else str(len(body)))
        self.end_headers()
        if not busy:
            self.wfile.write(body)

    def do_GET(self) -> None:
        """Tell the version, which Prefect's client asks for first."""
        body = json.dumps(prefect.__version__).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("busy", "status", "asked"), [(0, 201, 1), (2, 201, 3), (len(PAUSES), 201, 6), (len(PAUSES) + 1, 503, 6)]
)
def test_a_busy_server_is_asked_again(server: HTTPServer, busy: int, status: int, asked: int) -> None:
    server.asked, server.busy = 0, busy  # type: ignore[attr-defined]
    with httpx.Client(transport=BusyServerTransport()) as client:
        answer = client.post(f"http://127.0.0.1:{server.server_port}/", content=b"the same body each time")
    assert (answer.status_code, server.asked) == (status, asked)  # type: ignore[attr-defined]
    if status == 201:
        assert answer.content == b"the same body each time"


def test_the_proxy_of_the_environment_is_used(server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "elsewhere.test")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    with temporary_settings(updates={PREFECT_API_URL: "http://prefect.test/api"}), connected() as client:
        assert client.api_version() == prefect.__version__
