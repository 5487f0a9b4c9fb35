"""Rate limits of the Hub: one refused request, and no further one until the Hub takes requests again."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import set_client_factory

from conceptry.errors import TransientError, moment_in
from conceptry.installation import HubTarget
from tasks.hub import HubSession, list_live, publish
from tasks.hub.client import new_client, prepare
from tasks.hub.rate_limits import LIMITS, seconds_until_reset
from tests.support.bundles import make_bundle

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
QUOTA = "You have exceeded our hourly quotas for action: commit. You can retry this action in about 1 hour."


@pytest.mark.parametrize(
    ("headers", "words", "seconds"),
    [
        ({"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}, "", 55.0),
        ({"RateLimit": '"api";r=3;t=55'}, "", None),
        ({"Retry-After": "120"}, "", 120.0),
        ({"retry-after": "Sun, 29 Nov 2026 12:10:00 GMT"}, "", 600.0),
        ({"Retry-After": "Sun, 29 Nov 2026 11:00:00 GMT"}, "", 0.0),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 90)}, "", 90.0),
        ({"X-RateLimit-Reset": "90"}, "", 90.0),
        ({"Retry-After": "soon", "RateLimit": "?"}, "", None),
        ({"Retry-After": "9" * 12}, "", 21600.0),
        ({}, QUOTA, 3600.0),
        ({}, "retry this action in 25 minutes", 1500.0),
        ({}, "You have exceeded our hourly quotas for action: commit. We invite you to retry later.", 900.0),
        ({}, "You hit the quota of 1000 api requests per 5 minutes period.", 300.0),
        ({}, "Too many requests", None),
    ],
)
def test_when_the_hub_takes_requests_again(headers: dict[str, str], words: str, seconds: float | None) -> None:
    assert seconds_until_reset(headers, words, now=NOW) == seconds


class Refusing(httpx2.HTTPTransport):
    """Transport that answers 429 to commits, and counts them."""

    def __init__(self, headers: dict[str, str], body: str) -> None:
        super().__init__()
        self.answer, self.commits = (headers, body), 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST" and "/commit/" in request.url.path:
            self.commits += 1
            return httpx2.Response(429, headers=self.answer[0], text=self.answer[1], request=request)
        return super().handle_request(request)


@pytest.fixture
def refuse(hub: HubTarget) -> Iterator[Refusing]:
    """Let the Hub refuse commits for an hour."""
    HubSession(hub)  # the first one of a process sets the client
    transport = Refusing({}, QUOTA)
    set_client_factory(lambda: prepare(httpx2.Client(transport=transport, follow_redirects=True)))
    yield transport
    set_client_factory(new_client)
    LIMITS.forget()


def test_a_quota_stops_writes_after_one_request_and_no_reads(hub: HubTarget, tmp_path: Path, refuse: Refusing) -> None:
    for name in ("one", "two"):
        with pytest.raises(TransientError, match="not before") as caught:
            publish(HubSession(hub), name, make_bundle(tmp_path / name, name, fingerprint="1" * 64))
        assert caught.value.not_before is not None
        assert moment_in(str(caught.value)) == caught.value.not_before.replace(microsecond=0)
    assert refuse.commits == 1
    list_live(HubSession(hub))
    LIMITS.forget()
    set_client_factory(new_client)
    assert publish(HubSession(hub), "one", make_bundle(tmp_path / "again", "one", fingerprint="1" * 64)).name == "v1"
