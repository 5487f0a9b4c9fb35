"""The Deploy tab against an Endpoints API that speaks HTTP."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from emulators.hub.server import running
from space_template.deploy import ENDPOINTS_API_VARIABLE, Order, answer_html, create
from space_template.drawing import ModelUnavailableError, Studio, explain
from space_template.served import read_settings

SERVED = replace(
    read_settings(Path(__file__).resolve().parents[2] / "space_template" / "settings.json"),
    revision="f" * 40,
    version="v2",
    model_repo="local/my-cat",
)
ORDER = Order("my-cat", "tess", "aws", "us-east-1", "cpu", "intel-icl", "x2", 0, 1, "authenticated")
SECRET = "hf_verysecret"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, dict[str, Any]]]]:
    """An Endpoints API that answers with the status that the endpoint's name ends in; gives what it was sent."""
    received: list[tuple[str, str, dict[str, Any]]] = []

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append((self.path, self.headers["Authorization"], body))
            status = int(body["name"][-3:]) if body["name"][-3:].isdigit() else 202
            answer = {
                "name": body["name"], "model": body["model"], "type": body["type"], "healthRoute": "/health",
                "status": {"state": "pending", "createdAt": "2026-11-22T10:00:00.000Z",
                           "updatedAt": "2026-11-22T10:00:00.000Z"},
            } if status == 202 else {"error": f"no: <b>{SECRET}</b>"}  # fmt: skip
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv(ENDPOINTS_API_VARIABLE, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "INFERENCE_ENDPOINTS_ENDPOINT", constants.INFERENCE_ENDPOINTS_ENDPOINT)
    yield received
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_endpoint_is_made_from_the_exact_revision(api: list[tuple[str, str, dict[str, Any]]]) -> None:
    answer = create(ORDER, SERVED, SECRET)

    assert answer.ok
    assert answer.text == "my-cat is pending: local/my-cat v2 at ffffffffff."
    path, authorization, body = api[0]
    assert (path, authorization) == ("/endpoint/tess", f"Bearer {SECRET}")
    assert (body["model"]["repository"], body["model"]["revision"]) == ("local/my-cat", "f" * 40)
    assert (body["model"]["task"], body["provider"]) == ("custom", {"region": "us-east-1", "vendor": "aws"})
    assert body["compute"]["scaling"] == {"minReplica": 0, "maxReplica": 1, "scaleToZeroTimeout": 15}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "did not accept this order"), (401, "token was refused"), (403, "quota"),
        (409, "There is an endpoint named my-cat-409 already"), (500, "failed; try again later"),
    ],
)  # fmt: skip
def test_refusals_come_in_words_and_without_the_token(
    api: list[tuple[str, str, dict[str, Any]]], status: int, words: str
) -> None:
    answer = create(replace(ORDER, name=f"my-cat-{status}"), SERVED, SECRET)

    assert len(api) == 1
    assert not answer.ok
    assert words in answer.text
    html = answer_html(answer)
    assert SECRET not in html
    assert "<b>" not in html


def test_what_is_wrong_with_an_order_is_said_before_anybody_is_asked(
    api: list[tuple[str, str, dict[str, Any]]],
) -> None:
    order = replace(ORDER, name="My Cat!", region=" ", min_replica=3)
    answer = create(order, replace(SERVED, revision=None), " ")

    assert api == []
    for words in ("No version is published", "Give a token", "lower-case letters", "region is missing", "Replicas"):
        assert words in answer.text


def test_a_version_that_cannot_be_fetched_is_said_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path / "hub") as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        studio = Studio(SERVED)
        studio.start()
        with pytest.raises(ModelUnavailableError, match="local/my-cat at ffffffffff"):
            studio.wait(60)
    assert "could not be fetched" in explain(LocalEntryNotFoundError("no network"), SERVED)
