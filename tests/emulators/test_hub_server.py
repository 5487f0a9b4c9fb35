"""The Hub as a program: options, git over HTTP, several processes on one root, and kill -9."""

import contextlib
import gc
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import httpx2
import psutil
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from emulators.host import is_loopback
from emulators.hub.__main__ import main
from emulators.hub.server import RunningHub, running
from tests.support.hub_server import hub_process
from tests.support.wait import wait_until

NewRepo = Callable[..., str]


def git(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_public_address_needs_accounts(
    tmp_path: Path, accounts_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(tmp_path / "hub"), "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "accounts" in capsys.readouterr().err
    accounts_file.write_text("- {name: 'a/b', token: hf_x}\n- {name: ok}\n", encoding="utf-8")
    assert main(["--root", str(tmp_path / "hub"), "--accounts", str(accounts_file)]) == 2
    problems = capsys.readouterr().err
    assert "0.name" in problems
    assert "1.token" in problems
    config = tmp_path / "config.yaml"
    config.write_text("pages: {manifest: m.json, colour: red}\n", encoding="utf-8")
    assert main(["--root", str(tmp_path / "hub"), "--config", str(config)]) == 2
    assert "pages.colour" in capsys.readouterr().err
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("192.168.1.2")


def test_a_request_that_never_ends_is_cut_off_when_the_server_stops(tmp_path: Path) -> None:
    with running(tmp_path / "hub") as hub:
        host, port = hub.url.removeprefix("http://").split(":")
        client = socket.create_connection((host, int(port)), timeout=10)
        client.sendall(b"POST /api/repos/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
        wait_until(lambda: httpx2.get(f"{hub.url}/api/models").status_code == 200)
    gc.collect()  # a connection that was not closed warns, and a warning is an error here
    with client, contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""


def test_git_clones_a_branch(api: HfApi, hub: RunningHub, new_repo: NewRepo, tmp_path: Path) -> None:
    repo = new_repo(private=True)
    api.create_branch(repo, branch="v1")
    files = {"a.txt": b"text", "w.bin": b"\0" * 2000}
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    head = api.create_commit(repo, operations, commit_message="v1", revision="v1").oid
    address = f"{hub.url}/{repo}".replace("://", "://anna:hf_anna@")
    git("clone", "-q", "--depth", "1", "-b", "v1", address, "clone", cwd=tmp_path)
    clone = tmp_path / "clone"
    assert (clone / "a.txt").read_bytes() == b"text"
    assert (clone / "w.bin").read_text().startswith("version https://git-lfs")
    assert git("rev-parse", "HEAD", cwd=clone).strip() == head
    api.create_commit(repo, [CommitOperationAdd("b.txt", b"more")], commit_message="more", revision="v1")
    git("fetch", "-q", "--unshallow", cwd=clone)
    assert "more" in git("log", "--format=%s", "origin/v1", cwd=clone)
    with pytest.raises(subprocess.CalledProcessError):
        git("-c", "credential.helper=", "ls-remote", f"{hub.url}/{repo}", cwd=tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        git("push", "-q", address, "HEAD:refs/heads/pushed", cwd=clone)


def push_large(http: httpx2.Client, repo: str, path: str, data: bytes) -> str:
    """Commit a large file with the client's requests, and return the commit."""
    described = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    batch = {"operation": "upload", "objects": [described], "hash_algo": "sha256"}
    asked = http.post(f"/{repo}.git/info/lfs/objects/batch", json=batch).raise_for_status()
    address = asked.json()["objects"][0]["actions"]["upload"]["href"]
    http.put(address, content=data).raise_for_status()
    lines = [
        {"key": "header", "value": {"summary": path}},
        {"key": "lfsFile", "value": {"path": path, "algo": "sha256"} | described},
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    made = http.post(f"/api/models/{repo}/commit/main", content=body).raise_for_status()
    return str(made.json()["commitOid"])


def test_two_servers_killed_during_pushes_lose_no_commit(tmp_path: Path) -> None:
    """Kill two servers of one root during pushes: every confirmed commit exists, and the repo accepts new ones."""
    root = tmp_path / "hub"
    acknowledged: list[tuple[str, str]] = []
    enough = threading.Event()

    def push(url: str, worker: int) -> None:
        # Without huggingface_hub, which would retry for 15 s after the server is gone.
        with httpx2.Client(base_url=url, headers={"Authorization": "Bearer hf_local"}, timeout=60) as http:
            for number in range(1000):
                path = f"{worker}/{number}.bin"
                try:
                    oid = push_large(http, "local/pushed", path, os.urandom(2000))
                except httpx2.TransportError:
                    return
                acknowledged.append((path, oid))
                if len(acknowledged) >= 40:
                    enough.set()

    with hub_process(root) as (first, url), hub_process(root) as (second, other):
        HfApi(endpoint=url, token="hf_local").create_repo("local/pushed")
        pushers = [threading.Thread(target=push, args=(u, n)) for n, u in enumerate([url, other, url, other])]
        for pusher in pushers:
            pusher.start()
        assert enough.wait(60)
        first.send_signal(signal.SIGKILL)
        second.send_signal(signal.SIGKILL)
        for pusher in pushers:
            pusher.join()

    with hub_process(root) as (_, url):
        client = HfApi(endpoint=url, token="hf_local")
        commits = {c.commit_id for c in client.list_repo_commits("local/pushed")}
        files = set(client.list_repo_files("local/pushed"))
        assert {oid for _, oid in acknowledged} <= commits
        assert {path for path, _ in acknowledged} <= files
        assert len(commits) == len(files)  # one file each, and .gitattributes: no commit overwrote another
        path, _ = acknowledged[-1]
        assert Path(client.hf_hub_download("local/pushed", path, cache_dir=tmp_path / "cache")).stat().st_size == 2000
        client.create_commit("local/pushed", [CommitOperationAdd("after", b"x")], commit_message="after")
    checked = git("fsck", "--strict", "--no-dangling", cwd=root / "repos/models/local/pushed.git")
    assert checked == ""


def test_apps_end_with_their_server_and_another_starts_them(tmp_path: Path) -> None:
    """Kill the server that runs a Space: its processes end, and the other server starts it again."""
    root = tmp_path / "hub"

    def pages() -> list[psutil.Process]:
        """Return the Space's own processes."""
        commands = ((p, " ".join(p.info["cmdline"] or [])) for p in psutil.process_iter(["cmdline"]))
        return [
            p
            for p, command in commands
            if str(root) in command and "http.server" in command and "sandbox_program.py" not in command
        ]

    with hub_process(root) as (first, url):
        api = HfApi(endpoint=url, token="hf_local")
        api.create_repo("local/lasting", repo_type="space", space_sdk="static")
        api.upload_file(
            path_or_fileobj=b"<h1>still here", path_in_repo="index.html", repo_id="local/lasting", repo_type="space"
        )
        assert api.wait_for_space("local/lasting", timeout=60, poll_interval=0.1).stage == "RUNNING"
        address = str(api.space_info("local/lasting").host)
        with hub_process(root) as (_, other):
            api = HfApi(endpoint=other, token="hf_local")
            assert api.get_space_runtime("local/lasting").stage == "RUNNING"  # both servers report it
            served = pages()
            assert len(served) == 1
            first.send_signal(signal.SIGKILL)
            first.wait()
            psutil.wait_procs(served, timeout=20)
            assert not any(p.is_running() for p in served)
            wait_until(lambda: _answers(address))
            assert "still here" in httpx2.get(address).text
            assert api.get_space_runtime("local/lasting").stage == "RUNNING"
            assert len(pages()) == 1
    wait_until(lambda: not pages(), timeout=20)


def _answers(address: str) -> bool:
    try:
        return httpx2.get(address).status_code == 200
    except httpx2.TransportError:
        return False


def test_a_stale_git_lock_does_not_block(api: HfApi, hub: RunningHub, new_repo: NewRepo) -> None:
    repo = new_repo()
    (hub.root / "repos/models" / f"{repo}.git/refs/heads/main.lock").write_text("left by a killed process")
    api.create_commit(repo, [CommitOperationAdd("a", b"a")], commit_message="a")
    assert "a" in api.list_repo_files(repo)


def test_two_creators_make_one_repo(api: HfApi, hub: RunningHub) -> None:
    outcomes: list[int] = []
    start = threading.Barrier(6)

    def create() -> None:
        start.wait()
        try:
            api.create_repo("anna/contested")
            outcomes.append(200)
        except HfHubHTTPError as error:
            outcomes.append(error.response.status_code)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [200] + [409] * 5
    assert not list((hub.root / "tmp").iterdir())


def test_a_repo_of_a_killed_move_has_its_new_name(api: HfApi, hub: RunningHub, new_repo: NewRepo) -> None:
    repo = new_repo()
    folder = hub.root / "repos/models" / f"{repo}.git"
    target = folder.with_name("moved-by-hand.git")
    shutil.move(folder, target)
    assert json.loads((target / "hub.json").read_text())["name"] != "moved-by-hand"
    assert api.model_info("anna/moved-by-hand").id == "anna/moved-by-hand"
    assert not api.repo_exists(repo)
