"""A push to an origin with the hook is told to the Prefect server, and never fails for it."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from local.child_process import free_port
from local.post_receive_hook import install
from local.setup_folder import Folder, Setup
from tests.support.answering_server import Answer, answering

BASIC = f"Basic {base64.b64encode(b'a secret').decode()}"


@contextmanager
def _events() -> Iterator[tuple[int, list[Any]]]:
    """Listen for what is posted to /api/events; yields the port and the events so far."""
    told: list[Any] = []

    def answer(path: str, headers: Message, body: bytes) -> Answer:
        allowed, client = headers["Authorization"] == BASIC, path.removeprefix("/api/csrf-token?client=")
        if client != path:
            return 200 if allowed else 401, "application/json", json.dumps({"token": f"for {client}"}).encode()
        if (
            allowed
            and headers["Prefect-Csrf-Token"] == f"for {headers['Prefect-Csrf-Client']}"
            and path == "/api/events"
        ):
            told.extend(json.loads(body))
        return 204, "application/json", b""

    with answering(answer) as port:
        yield port, told


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with one commit, of an origin that tells the set-up in `set-up`."""
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "origin.git")], check=True)
    install(tmp_path / "origin.git", tmp_path / "set-up")
    subprocess.run(["git", "clone", "-q", "origin.git", "clone"], cwd=tmp_path, check=True)
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "One"], cwd=tmp_path / "clone", check=True)
    return tmp_path / "clone"


def _push(clone: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "push", "-q"], cwd=clone, check=False, capture_output=True, text=True)


def test_a_push_is_told(clone: Path) -> None:
    with _events() as (port, told):
        Folder.at(clone.parent / "set-up").write(Setup(repo="origin.git", prefect_port=port, prefect_auth="a secret"))
        assert _push(clone).returncode == 0
    assert [(event["event"], event["resource"]["prefect.resource.id"]) for event in told] == [
        ("conceptry.git.pushed", "conceptry.git.origin")
    ]


@pytest.mark.parametrize("set_up", [False, True])
def test_nobody_listening_is_nobody_hurt(clone: Path, set_up: bool) -> None:
    if set_up:
        Folder.at(clone.parent / "set-up").write(Setup(repo="origin.git", prefect_port=free_port(0)))
    pushed = _push(clone)
    assert (pushed.returncode, pushed.stderr) == (0, "")
