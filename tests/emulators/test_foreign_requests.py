"""What pages of other origins may do to the servers of this machine through a browser: nothing."""

from collections.abc import Callable

import httpx2
import pytest
from huggingface_hub import HfApi

from emulators.foreign_requests import is_foreign
from emulators.hub.server import RunningHub
from emulators.vertex.cloud import Cloud
from tests.support.hub_server import ANNA

HERE = {"host": "127.0.0.1:4280"}


@pytest.mark.parametrize(
    ("method", "headers", "foreign"),
    [
        pytest.param("POST", HERE, False, id="a client that is no browser"),
        pytest.param("POST", HERE | {"origin": "http://127.0.0.1:4280"}, False, id="its own page"),
        pytest.param("POST", HERE | {"origin": "https://evil.example"}, True, id="another page"),
        pytest.param("DELETE", HERE | {"origin": "http://127.0.0.1:7860"}, True, id="another port"),
        pytest.param("PUT", HERE | {"origin": "null"}, True, id="a file or a sandboxed frame"),
        pytest.param("POST", HERE | {"sec-fetch-site": "same-site"}, True, id="another port, as the browser says"),
        pytest.param("POST", HERE | {"sec-fetch-site": "cross-site"}, True, id="another site, as the browser says"),
        pytest.param("POST", HERE | {"sec-fetch-site": "none"}, False, id="the user"),
        pytest.param(
            "POST",
            {"host": "127.0.0.1:80", "origin": "https://hub.example", "sec-fetch-site": "same-origin"},
            False,
            id="its own page behind a proxy",
        ),
        pytest.param("GET", HERE | {"origin": "https://evil.example"}, False, id="reading"),
        pytest.param("GET", HERE | {"origin": "https://evil.example", "upgrade": "websocket"}, True, id="a web socket"),
        pytest.param(
            "OPTIONS",
            HERE | {"origin": "https://evil.example", "access-control-request-method": "DELETE"},
            True,
            id="a question whether it may write",
        ),
        pytest.param(
            "OPTIONS",
            HERE | {"origin": "https://evil.example", "access-control-request-method": "GET"},
            False,
            id="a question whether it may read",
        ),
        pytest.param("GET", {"host": "evil.example:4280"}, True, id="a name that was pointed at this machine"),
        pytest.param("POST", {"host": "localhost:4280"}, False, id="localhost"),
        pytest.param("POST", {"host": "[::1]:4280"}, False, id="IPv6"),
    ],
)
def test_browsers_say_where_a_request_comes_from(method: str, headers: dict[str, str], foreign: bool) -> None:
    assert is_foreign(method, headers.get, loopback=True) is foreign


def test_a_server_for_others_may_have_any_name() -> None:
    assert not is_foreign("POST", {"host": "hub.example"}.get, loopback=False)


def test_the_hub_refuses_what_a_foreign_page_sends(
    hub: RunningHub, api: HfApi, http: httpx2.Client, new_repo: Callable[..., str]
) -> None:
    repo = new_repo()
    url = f"{hub.url}/api/models/{repo}/branch/mine"
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"}, {"Host": "evil.example"}):
        answer = http.post(url, headers=ANNA | headers, json={})
        assert (answer.status_code, "another origin" in answer.json()["error"]) == (403, True)
    assert [branch.name for branch in api.list_repo_refs(repo).branches] == ["main"]
    assert http.post(url, headers=ANNA | {"Origin": hub.url}, json={}).status_code == 200


def test_the_cloud_storage_refuses_what_a_foreign_page_sends(cloud: Cloud) -> None:
    """fake-gcs-server itself would answer every page, and let it read the answers."""
    address = f"{cloud.storage}/storage/v1/b/{cloud.bucket}/o"
    foreign = {"origin": "https://evil.example"}
    assert httpx2.get(address, headers=foreign).status_code == 403
    assert httpx2.post(address, headers=foreign, content=b"{}").status_code == 403
    assert httpx2.get(address, headers={"host": "evil.example"}).status_code == 403
    assert "access-control-allow-origin" not in httpx2.options(address, headers=foreign).headers
    assert httpx2.get(address).status_code == 200
    blob = cloud.client().bucket(cloud.bucket).blob("large")
    blob.upload_from_string(b"0" * (9 << 20))
    assert len(blob.download_as_bytes()) == 9 << 20
