"""Webhooks: recipients, payloads, and delivery after failures of the receiver and restarts of the Hub."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, WebhookPayload
from huggingface_hub.errors import HfHubHTTPError

from emulators.hub.server import RunningHub, running
from tests.support.hub_server import ACCOUNTS, WebhookReceiver, receiving_webhooks

NewRepo = Callable[..., str]


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with receiving_webhooks() as receiver:
        yield receiver


def test_changes_are_delivered_in_the_hubs_form(api: HfApi, new_repo: NewRepo, receiver: WebhookReceiver) -> None:
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


def test_events_of_private_repos_reach_their_owners_only(
    api: HfApi, ben: HfApi, new_repo: NewRepo, receiver: WebhookReceiver
) -> None:
    spy = ben.create_webhook(url=receiver.url, watched=[{"type": "user", "name": "anna"}])
    new_repo(private=True)
    public = new_repo()
    assert receiver.next()["repo"]["name"] == public
    with pytest.raises(HfHubHTTPError):
        api.get_webhook(spy.id)
    ben.delete_webhook(spy.id)


def test_a_message_survives_a_failing_receiver_and_a_restart(
    tmp_path: Path, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulators.hub.webhook_delivery.RETRY_SECONDS", (0.2, 0.4))
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


def test_a_message_is_dropped_after_its_last_attempt(
    tmp_path: Path, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulators.hub.webhook_delivery.RETRY_SECONDS", (0.1,))
    receiver.answers[:] = [500, 500]
    with running(tmp_path, accounts=ACCOUNTS) as hub:
        client = HfApi(endpoint=hub.url, token="hf_anna")
        client.create_webhook(url=receiver.url, watched=[{"type": "user", "name": "anna"}])
        client.create_repo("anna/first")
        assert [receiver.next()["repo"]["name"] for _ in range(2)] == ["anna/first", "anna/first"]
        client.create_repo("anna/second")
        assert receiver.next()["repo"]["name"] == "anna/second"
    assert receiver.arrived.empty()


@pytest.mark.parametrize("wrong", [{"url": "ftp://x"}, {"watched": []}, {"job_id": "x", "url": None}])
def test_undeliverable_webhooks_are_refused(hub: RunningHub, api: HfApi, wrong: dict[str, Any]) -> None:
    given = {"url": hub.url, "watched": [{"type": "user", "name": "anna"}]} | wrong
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_webhook(**given)
    assert caught.value.response.status_code == 400
