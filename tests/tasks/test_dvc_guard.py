"""What a `.dvc/config` of git may do with the credentials of this machine, and with its time."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from conceptry.errors import SettingsError, TransientError
from tasks.dvc import deadlines, open_remote, remote
from tasks.dvc.remote_guard import check_remote
from tests.support.dvc_storage import CONFIG, Storage, serving_storage
from tests.support.dvc_world import PICTURES, World
from tests.support.secrecy import words

PASSWORD = "canary-remote"


@pytest.fixture
def make_storage(tmp_path: Path) -> Iterator[Callable[[], Storage]]:
    with ExitStack() as servers:
        yield lambda: servers.enter_context(serving_storage(tmp_path / "remote", PASSWORD))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the machine's own DVC configuration."""
    folder = tmp_path / "dvc-global"
    folder.mkdir()
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(folder))
    return lambda text: (folder / "config").write_text(f"['remote \"storage\"']\n{text}") and None


def test_a_commit_cannot_send_the_machines_password_elsewhere(
    tmp_path: Path, make_storage: Callable[[], Storage], machine: Callable[[str], None]
) -> None:
    right, evil = make_storage(), make_storage()
    world = World(tmp_path)
    world.start()
    world.add("cat", PICTURES)
    machine(f"    url = {right.url}\n    password = {PASSWORD}\n")
    world.configure(CONFIG.format(url=f"{right.url}files/.."))
    assert world.list(world.commit())["cat"].error is None

    world.configure(CONFIG.format(url=evil.url))
    world.cache.rename(tmp_path / "old-cache")
    with pytest.raises(SettingsError, match=r"'storage'.*password.*address that git names") as caught:
        world.list(world.commit())
    assert evil.url in str(caught.value)
    assert right.url in str(caught.value)
    assert "canary" not in words(caught.value)
    assert evil.seen == []


def test_the_commands_of_the_message_bind_the_password(
    tmp_path: Path, make_storage: Callable[[], Storage], machine: Callable[[str], None]
) -> None:
    storage = make_storage()
    world = World(tmp_path)
    world.start()
    world.add("cat", PICTURES)
    machine(f"    password = {PASSWORD}\n")
    world.configure(CONFIG.format(url=storage.url))
    revision = world.commit()
    with pytest.raises(SettingsError) as caught:
        world.list(revision)
    assert storage.seen == []

    for command in re.findall(r"`(dvc [^`]+)`", str(caught.value)):
        program = [sys.executable, "-m", *shlex.split(command)]
        subprocess.run(program, cwd=world.clone, check=True, capture_output=True)

    assert len(world.list(revision)["cat"].images or ()) == len(PICTURES)
    assert storage.seen


def test_a_refused_password_is_in_no_exception(
    tmp_path: Path, make_storage: Callable[[], Storage], machine: Callable[[str], None]
) -> None:
    storage = make_storage()
    world = World(tmp_path)
    world.start()
    world.add("cat", PICTURES)
    machine(f"    url = {storage.url}\n    password = {PASSWORD}-wrong\n")
    world.configure(CONFIG.format(url=storage.url))
    with pytest.raises(SettingsError, match="credentials") as caught:
        world.list(world.commit())
    assert "canary" not in words(caught.value)


SECRET = {"password": "p"}
MINIO = {"url": "s3://b", "endpointurl": "https://minio"}


@pytest.mark.parametrize(
    ("machine_keys", "git_keys", "told"),
    [
        # What stays as it was.
        ({}, {"url": "https://a/x", "user": "u", "password": "committed"}, None),
        ({"url": "https://a/x", **SECRET}, {"url": "https://a/other"}, None),
        ({"url": "https://a/x", **SECRET}, {"url": "https://A:443/x"}, None),
        ({"url": "s3://b", "access_key_id": "i", "secret_access_key": "s"}, {"url": "s3://b/path"}, None),
        ({"url": "s3://b", "endpointurl": "https://m", "secret_access_key": "s"}, {"url": "s3://b"}, None),
        ({"url": "ssh://h", "keyfile": "/k"}, {"url": "ssh://ann@h/data", "keyfile": "/k"}, None),
        ({"jobs": "4"}, {"url": "https://b/x"}, None),
        ({}, {"url": "gs://b/path"}, None),
        (MINIO, MINIO, None),
        ({}, {**MINIO, "access_key_id": "i", "secret_access_key": "committed"}, None),
        ({}, {**MINIO, "allow_anonymous_login": "true"}, None),
        ({"url": "ssh://h", "password": "p"}, {"url": "ssh://h", "ask_password": "true"}, None),
        ({}, {"url": "azure://c", "account_name": "a", "sas_token": "committed"}, None),
        ({}, {"url": "gs://b", "endpointurl": "http://h", "allow_anonymous_login": "true"}, None),
        # The machine's credentials for another address.
        (SECRET, {"url": "https://a/x"}, "url"),
        ({"url": "https://a", **SECRET}, {"url": "http://a"}, "url"),
        ({"url": "https://a", **SECRET}, {"url": "https://a:444"}, "url"),
        ({"url": "https://a", **SECRET}, {"url": "https://a@evil/"}, "url"),
        ({"url": "https://a", "custom_auth_header": "X"}, {"url": "https://evil"}, "url"),
        ({"url": "https://a", **SECRET}, {"url": "https://a", "ssl_verify": "false"}, "ssl_verify"),
        ({"url": "s3://b", "secret_access_key": "s"}, {"url": "s3://b", "endpointurl": "https://evil"}, "endpointurl"),
        ({"url": "s3://b", "secret_access_key": "s"}, {"url": "s3://other"}, "url"),
        ({"url": "ssh://h", **SECRET}, {"url": "ssh://h", "port": "2222"}, "port"),
        ({"url": "webdavs://h", "token": "t"}, {"url": "webdavs://evil"}, "url"),
        ({"url": "webdavs://h", "bearer_token_command": "c"}, {"url": "webdavs://evil"}, "url"),
        ({"connection_string": "c"}, {"url": "azure://c"}, "url"),
        ({"url": "oss://b", "oss_key_secret": "s"}, {"url": "oss://b", "oss_endpoint": "evil"}, "oss_endpoint"),
        ({"url": "webhdfs://h", "token": "t"}, {"url": "webhdfs://h", "proxy_to": "evil"}, "proxy_to"),
        # Files, commands and cloud credentials of the machine, named in git.
        ({}, {"url": "ssh://evil", "keyfile": "/home/ann/.ssh/id"}, "keyfile"),
        ({}, {"url": "webdavs://evil", "bearer_token_command": "cat ~/.netrc"}, "bearer_token_command"),
        ({}, {"url": "webdavs://evil", "cert_path": "/c"}, "cert_path"),
        ({}, {"url": "gs://b", "credentialpath": "/key.json", "endpointurl": "http://evil"}, "credentialpath"),
        ({}, {"url": "gs://b", "endpointurl": "http://127.0.0.1:1"}, "endpointurl"),
        ({"url": "gs://b"}, {"url": "gs://b", "endpointurl": "http://evil"}, "endpointurl"),
        ({}, {"url": "azure://c", "account_name": "evil"}, "account_name"),
        ({}, MINIO, "endpointurl"),
        ({"url": "s3://b"}, {**MINIO, "profile": "work"}, "endpointurl"),
        ({"url": "s3://b", "endpointurl": "https://other"}, {**MINIO, "access_key_id": "i"}, "endpointurl"),
        # Questions.
        ({}, {"url": "https://a", "ask_password": "true"}, "password"),
        ({}, {"url": "ssh://a", "ask_passphrase": "true"}, "passphrase"),
        ({"ask_password": "true"}, {"url": "ssh://a"}, "password"),
        ({}, {"url": "gdrive://folder"}, "gdrive_use_service_account"),
    ],
)
def test_who_gets_credentials(machine_keys: dict[str, Any], git_keys: dict[str, Any], told: str | None) -> None:
    machine, git = {"storage": machine_keys}, {"storage": git_keys}
    if told is None:
        check_remote("storage", machine, git, "place")
        return
    with pytest.raises(SettingsError, match=rf"`dvc remote modify --global storage [^`]*{told}|{told}"):
        check_remote("storage", machine, git, "place")


def test_a_remote_that_refers_to_another_one_is_followed() -> None:
    base = {"url": "ssh://right", "password": "p"}
    check_remote("images", {"base": base}, {"images": {"url": "remote://base/x"}}, "place")
    for git in (
        {"images": {"url": "remote://base/x"}, "base": {"url": "ssh://evil"}},
        {"images": {"url": "remote://base/x", "port": "2222"}},
    ):
        with pytest.raises(SettingsError, match="'base'"):
            check_remote("images", {"base": base}, git, "place")


def test_a_remote_that_hangs_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    world.start()
    oid = world.add("cat", PICTURES)
    revision = world.commit()
    world.object(oid).unlink()
    os.mkfifo(world.object(oid))  # opening it blocks, as a file of a hung NFS server does
    monkeypatch.setattr(remote, "ASK_TIMEOUT", 0.2)
    started = time.monotonic()
    with pytest.raises(TransientError, match="no answer"):
        world.list(revision)
    with pytest.raises(TransientError, match="no answer"):
        open_remote(world.mirror, revision).read(oid)
    assert time.monotonic() - started < 20


def test_a_client_that_cannot_be_built_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    world.start()
    world.add("cat", PICTURES)
    revision = world.commit()
    folder = tmp_path / "machine"
    folder.mkdir()
    os.mkfifo(folder / "config")
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(folder))
    monkeypatch.setattr(remote, "OPEN_TIMEOUT", 0.5)
    with pytest.raises(TransientError, match="could not be opened"):
        world.list(revision)


def test_neither_the_pool_nor_the_end_of_the_process_waits_for_a_hung_call(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hung")
    code = (
        "import sys; from pathlib import Path; from tasks.dvc.deadlines import call_within, in_parallel\n"
        "def read(path):\n"
        "    if path == 'bad': raise ValueError(path)\n"
        "    return Path(path).read_bytes()\n"
        "try: in_parallel(read, [sys.argv[1], 'bad'])\n"
        "except ValueError: print('told')\n"
        "try: call_within(0.1, read, sys.argv[1])\n"
        "except TimeoutError: print('late')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "hung")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["told", "late"]


def test_results_keep_their_order() -> None:
    assert deadlines.in_parallel(lambda number: number * 2, range(100)) == list(range(0, 200, 2))
    assert deadlines.in_parallel(lambda number: number, []) == []


def test_a_plug_in_that_is_not_installed_is_named_with_the_command(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start("s3://bucket/path")
    world.add("cat", PICTURES)
    with pytest.raises(SettingsError, match=r"the remote needs dvc-s3, which is not installed; run `uv .*dvc-s3`"):
        open_remote(world.mirror, world.commit())
