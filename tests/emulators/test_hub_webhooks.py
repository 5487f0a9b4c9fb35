"""Webhooks: who is told what, that it arrives, and that it arrives even when the receiver or the hub was away."""

import json
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, WebhookPayload
from huggingface_hub.errors import HfHubHTTPError

from emulators.hub.server import RunningHub, running
from tests.emulators.conftest import ACCOUNTS

NewRepo = Callable[..., str]


@dataclass
class Receiver:
    """What arrived, and how the next requests are answered (200 when nothing is said)."""

    url: str
    arrived: "queue.Queue[tuple[dict[str, str], dict[str, Any]]]"
    answers: list[int]

    def next(self) -> dict[str, Any]:
        return self.arrived.get(timeout=30)[1]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
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
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook", arrived, answers)
        server.shutdown()


def test_changes_are_told_in_the_hubs_words(api: HfApi, new_repo: NewRepo, receiver: Receiver) -> None:
    repo = new_repo()
    hook = api.create_webhook(url=receiver.url, watched=[{"type": "model", "name": repo}], secret="between-us")
    made = api.create_commit(repo, [CommitOperationAdd("a.txt", b"a")], commit_message="a")
    headers, payload = receiver.arrived.get(timeout=30)
    assert headers["X-Webhook-Secret"] == "between-us"
    assert payload["event"] == {"action": "update", "scope": "repo.content"}
    assert payload["repo"]["name"] == repo
    assert payload["repo"]["headSha"] == payload["updatedRefs"][0]["newSha"] == made.oid
    assert payload["webhook"] == {"id": hook.id, "version": 3}
    WebhookPayload.model_validate(payload)

    api.create_branch(repo, branch="v1")
    assert receiver.next()["updatedRefs"] == [{"ref": "refs/heads/v1", "oldSha": None, "newSha": made.oid}]
    api.update_repo_settings(repo, gated="auto")
    assert receiver.next()["event"] == {"action": "update", "scope": "repo.config"}
    api.move_repo(repo, f"{repo}-moved")
    moved = receiver.next()
    assert (moved["event"]["action"], moved["movedTo"]["name"]) == ("move", f"{repo}-moved")
    api.disable_webhook(hook.id)
    api.create_webhook(url=receiver.url, watched=[{"type": "user", "name": "anna"}], domains=["repo"])
    api.delete_repo(f"{repo}-moved")
    assert receiver.next()["event"] == {"action": "delete", "scope": "repo"}
    assert receiver.arrived.empty()
    for one in api.list_webhooks():
        api.delete_webhook(one.id)


def test_private_repos_are_told_to_their_owners_only(
    api: HfApi, ben: HfApi, new_repo: NewRepo, receiver: Receiver
) -> None:
    spy = ben.create_webhook(url=receiver.url, watched=[{"type": "user", "name": "anna"}])
    new_repo(private=True)
    public = new_repo()
    assert receiver.next()["repo"]["name"] == public
    with pytest.raises(HfHubHTTPError):
        api.get_webhook(spy.id)
    ben.delete_webhook(spy.id)


def test_a_message_outlives_a_failing_receiver_and_the_hub(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers[:] = [500, 503]

    def start() -> Any:
        return running(tmp_path, accounts=ACCOUNTS)

    with start() as hub:
        client = HfApi(endpoint=hub.url, token="hf_anna")
        client.create_webhook(url=receiver.url, watched=[{"type": "user", "name": "anna"}])
        client.create_repo("anna/kept")
        first = receiver.next()
    with start():
        assert receiver.next() == receiver.next() == first
    assert receiver.arrived.empty()


@pytest.mark.parametrize("wrong", [{"url": "ftp://x"}, {"watched": []}, {"job_id": "x", "url": None}])
def test_what_cannot_be_delivered_is_refused(hub: RunningHub, api: HfApi, wrong: dict[str, Any]) -> None:
    given = {"url": hub.url, "watched": [{"type": "user", "name": "anna"}]} | wrong
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_webhook(**given)
    assert caught.value.response.status_code == 400
