"""Access control, signed URLs, and confinement to the Hub's folder."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from emulators.hub.server import RunningHub
from tests.support.hub_server import ANNA, BEN

NewRepo = Callable[..., str]


def batch(hub: RunningHub, repo: str, operation: str, data: bytes, headers: dict[str, str]) -> dict[str, object]:
    oid = hashlib.sha256(data).hexdigest()
    body = {"operation": operation, "objects": [{"oid": oid, "size": len(data)}], "hash_algo": "sha256"}
    answer = httpx2.post(f"{hub.url}/{repo}.git/info/lfs/objects/batch", json=body, headers=headers)
    answer.raise_for_status()
    return dict(answer.json()["objects"][0])


def put_address(hub: RunningHub, repo: str, data: bytes) -> str:
    described = batch(hub, repo, "upload", data, ANNA)
    return str(described["actions"]["upload"]["href"])  # type: ignore[index]


def send_commit(hub: RunningHub, repo: str, *lines: Mapping[str, object], headers: dict[str, str]) -> httpx2.Response:
    header = {"key": "header", "value": {"summary": "by hand"}}
    body = "\n".join(json.dumps(line) for line in (header, *lines))
    return httpx2.post(f"{hub.url}/api/models/{repo}/commit/main", content=body, headers=headers)


def test_private_repos_are_invisible(api: HfApi, ben: HfApi, stranger: HfApi, new_repo: NewRepo) -> None:
    repo = new_repo(private=True)
    api.upload_file(path_or_fileobj=b"\0secret", path_in_repo="w.bin", repo_id=repo)
    for client in (ben, stranger):
        assert repo not in [m.id for m in client.list_models(author="anna")]
        for ask in (client.model_info, client.list_repo_refs, client.list_repo_files, client.list_repo_commits):
            with pytest.raises(RepositoryNotFoundError):
                ask(repo)
        assert not client.file_exists(repo, "w.bin")
    hidden = httpx2.get(f"{api.endpoint}/api/models/{repo}", headers=BEN)
    missing = httpx2.get(f"{api.endpoint}/api/models/anna/none", headers=BEN)
    assert (hidden.status_code, hidden.content) == (missing.status_code, missing.content)
    assert api.model_info(repo).private
    assert api.model_info(new_repo("team")).private  # that organization's default


def test_only_owners_write(ben: HfApi, stranger: HfApi, hub: RunningHub, new_repo: NewRepo) -> None:
    repo = new_repo()
    reader = HfApi(endpoint=hub.url, token="hf_reader")
    changes: list[Callable[[HfApi], object]] = [
        lambda c: c.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo),
        lambda c: c.create_branch(repo, branch="b"),
        lambda c: c.create_tag(repo, tag="t"),
        lambda c: c.delete_repo(repo),
        lambda c: c.update_repo_settings(repo, private=True),
    ]
    for client, status in ((ben, 403), (stranger, 401), (reader, 403)):
        for change in changes:
            with pytest.raises(HfHubHTTPError) as caught:
                change(client)
            assert caught.value.response.status_code == status
    with pytest.raises(HfHubHTTPError, match="403"):
        ben.create_repo("anna/for-anna")
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(endpoint=hub.url, token="hf_wrong").whoami()


def test_gated_repos_are_listed_but_closed(api: HfApi, ben: HfApi, new_repo: NewRepo) -> None:
    repo = new_repo()
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo)
    api.update_repo_settings(repo, gated="manual")
    assert ben.model_info(repo).gated == "manual"
    with pytest.raises(GatedRepoError):
        ben.hf_hub_download(repo, "x.txt")


def test_basic_credentials_cannot_write(hub: RunningHub) -> None:
    answer = httpx2.post(f"{hub.url}/api/repos/create", json={"name": "x"}, auth=("anna", "hf_anna"))
    assert answer.status_code == 403


def test_upload_addresses_are_signed_and_expire(
    hub: RunningHub, new_repo: NewRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, data = new_repo(), os.urandom(1000)
    address = put_address(hub, repo, data)
    other = hashlib.sha256(b"other").hexdigest()
    oid = hashlib.sha256(data).hexdigest()
    assert httpx2.put(address.replace(oid, other), content=b"other").status_code == 403
    assert httpx2.put(address.replace("size=1000", "size=5"), content=b"other").status_code == 403
    assert httpx2.put(address.split("?")[0], content=data).status_code == 403
    assert httpx2.put(address, content=b"not what was announced").status_code == 400
    assert httpx2.put(address, content=data + b"more").status_code == 400
    monkeypatch.setattr("emulators.hub.lfs.URL_SECONDS", -1)
    assert httpx2.put(put_address(hub, repo, data), content=data).status_code == 403
    assert httpx2.put(address, content=data).status_code == 200
    assert "actions" not in batch(hub, repo, "upload", data, ANNA)
    assert not list((hub.root / "tmp").iterdir())


def test_knowing_a_digest_gives_no_access(api: HfApi, hub: RunningHub, ben: HfApi, new_repo: NewRepo) -> None:
    secret, private = b"\0secret weights", new_repo(private=True)
    api.upload_file(path_or_fileobj=secret, path_in_repo="w.bin", repo_id=private)
    oid = hashlib.sha256(secret).hexdigest()
    theft = ben.create_repo("ben/theft", exist_ok=True).repo_id
    assert "actions" in batch(hub, theft, "upload", secret, BEN)
    assert "error" in batch(hub, theft, "download", secret, BEN)
    line = {"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", "oid": oid, "size": len(secret)}}
    assert send_commit(hub, theft, line, headers=BEN).status_code == 400
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(secret)}\n"
    line = {"key": "file", "value": {"path": "w.bin", "content": pointer, "encoding": "utf-8"}}
    assert send_commit(hub, theft, line, headers=BEN).status_code == 400
    # An account that sends the bytes may use them; a public copy opens them to every account.
    ben.upload_file(path_or_fileobj=secret, path_in_repo="w.bin", repo_id=theft)
    assert "actions" not in batch(hub, new_repo(), "upload", secret, ANNA)


def test_downloads_of_lfs_clients(api: HfApi, hub: RunningHub, new_repo: NewRepo) -> None:
    repo, data = new_repo(), b"\0" * 5000
    api.upload_file(path_or_fileobj=data, path_in_repo="w.bin", repo_id=repo)
    described = batch(hub, repo, "download", data, {})
    address = described["actions"]["download"]["href"]  # type: ignore[index]
    assert httpx2.get(address).content == data


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/x", "a//b", ".git/config", "a/.GIT/x", ".git./x", "..\\b", "", ".", "a\0b"]
)
def test_paths_stay_inside_the_repo(hub: RunningHub, new_repo: NewRepo, path: str) -> None:
    line = {"key": "file", "value": {"path": path, "content": "eA=="}}
    answer = send_commit(hub, new_repo(), line, headers=ANNA)
    assert answer.status_code == 422
    assert "Invalid path" in answer.json()["error"]


@pytest.mark.parametrize("name", ["..", "a/b", ".hidden", "x.git", "a--b", "", "a" * 97, "a\nb"])
def test_names_stay_inside_the_root(hub: RunningHub, name: str) -> None:
    for body in ({"name": name}, {"name": "fine", "organization": name}):
        answer = httpx2.post(f"{hub.url}/api/repos/create", json=body, headers=ANNA)
        assert answer.status_code in (400, 403)


def test_no_request_leaves_the_root(hub: RunningHub, http: httpx2.Client, new_repo: NewRepo) -> None:
    repo = new_repo()
    secret = (hub.root / "secret").read_bytes()
    climbing = ["../" * 6 + "secret", "..%2f" * 6 + "secret", "%2e%2e/" * 6 + "secret", "../hub.json", "..%2fhub.json"]
    for path in climbing:
        for view in ("resolve", "raw", "blob", "tree"):
            answer = http.get(f"{hub.url}/{repo}/{view}/main/{path}", headers=ANNA)
            assert answer.status_code in (400, 404)
            assert secret not in answer.content


def test_files_with_secrets_are_readable_by_their_owner_only(hub: RunningHub) -> None:
    files = [hub.root / "secret", *hub.root.glob("repos/*/*/*/hub.json")]
    assert all(Path(f).stat().st_mode & 0o077 == 0 for f in files)
