"""What pages of other origins may do to the servers of this machine through a browser: nothing."""

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi

from emulators.foreign_requests import is_foreign
from emulators.hub.server import RunningHub, running, serve
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


def test_a_reverse_proxy_in_front_has_a_name() -> None:
    def foreign(host: str, **headers: str) -> bool:
        return is_foreign("POST", ({"host": host} | headers).get, loopback=True, public="hub.example")

    assert not foreign("hub.example", origin="https://hub.example")
    assert not foreign("127.0.0.1:4280", origin="https://hub.example"), "a proxy that does not pass the name on"
    assert foreign("evil.example")
    assert foreign("hub.example", origin="https://evil.example")


def test_links_of_a_hub_behind_a_proxy_begin_with_its_address(tmp_path: Path) -> None:
    with running(tmp_path, public_url="https://hub.example") as behind:
        headers = {"Authorization": "Bearer hf_local", "Host": "hub.example"}
        made = httpx2.post(f"{behind.url}/api/repos/create", headers=headers, json={"name": "cat"}).json()
        upload = {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1}], "transfers": ["basic"]}
        batch = httpx2.post(f"{behind.url}/local/cat.git/info/lfs/objects/batch", headers=headers, json=upload).json()
        signed_in = httpx2.get(f"{behind.url}/login", headers={"Host": "hub.example"}, auth=("local", "hf_local"))
    assert made["url"] == "https://hub.example/local/cat"
    assert batch["objects"][0]["actions"]["upload"]["href"].startswith("https://hub.example/")
    assert "Secure" in signed_in.headers["Set-Cookie"]


def test_a_hub_that_a_proxy_opens_to_others_needs_accounts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="accounts"):
        serve(tmp_path, host="127.0.0.1", port=0, ready=print, public_url="https://hub.example")


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
