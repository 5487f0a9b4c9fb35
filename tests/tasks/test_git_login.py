"""The login of the origin: git gets it, and no command line, exception or file shows it; a hung origin ends in time."""

import logging
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from conceptry.errors import ConceptryError, SettingsError, TransientError
from local.setup_folder import Folder, Setup
from tasks import git
from tests.support.git_server import GitServer, serving
from tests.support.secrecy import commands, files_with, words
from tests.support.wait import wait_until

PASSWORD = "canary-pass@word"
QUOTED = "canary-pass%40word"
WRONG = "canary-wrong"


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[GitServer]:
    run(tmp_path, "init", "--quiet", "--bare", "origin.git")
    run(tmp_path, "clone", "--quiet", "origin.git", "clone")
    run(tmp_path / "clone", "commit", "--quiet", "--allow-empty", "-m", "first")
    run(tmp_path / "clone", "push", "--quiet", "origin", "HEAD")
    with serving(tmp_path / "origin.git", PASSWORD) as server:
        server.refresh()
        yield server


def test_git_logs_in_and_no_command_line_shows_how(tmp_path: Path, origin: GitServer) -> None:
    seen: list[str] = []
    origin.answer.clear()
    failures: list[BaseException] = []

    def fetch() -> None:
        try:
            git.mirror(origin.url("ann", QUOTED), tmp_path / "mirror")
        except Exception as error:  # noqa: BLE001 - a thread's error would be lost
            failures.append(error)

    thread = threading.Thread(target=fetch)
    thread.start()
    wait_until(origin.asked.is_set)
    seen += commands()
    origin.answer.set()
    thread.join()

    assert not failures
    assert any("fetch" in command for command in seen)
    assert PASSWORD not in " ".join(seen)
    assert QUOTED not in " ".join(seen)
    assert git.head(tmp_path / "mirror", "main") == run(tmp_path / "clone", "rev-parse", "HEAD")
    assert git.remote_head(origin.url("ann", QUOTED), "main") == git.head(tmp_path / "mirror", "main")
    assert git.remote_head(origin.shown, "main", login=SecretStr(f"ann:{QUOTED}")) is not None
    assert files_with(PASSWORD, tmp_path) == files_with(QUOTED, tmp_path) == []


def test_a_refused_login_says_which_setting_and_shows_no_secret(tmp_path: Path, origin: GitServer) -> None:
    for attempt in (
        lambda: git.mirror(origin.url("ann", WRONG), tmp_path / "mirror"),
        lambda: git.remote_head(origin.url("ann", WRONG), "main"),
    ):
        with pytest.raises(SettingsError, match="CONCEPTRY_REPO_LOGIN") as caught:
            attempt()
        assert "canary" not in words(caught.value)


def test_an_origin_that_cannot_be_reached_shows_no_secret(tmp_path: Path) -> None:
    with pytest.raises(TransientError) as caught:
        git.mirror(f"http://user:{WRONG}@127.0.0.1:9/x.git", tmp_path / "mirror")
    assert "canary" not in words(caught.value)
    with pytest.raises(ConceptryError) as refused:
        git.mirror(f"https://{WRONG}%0A:x@127.0.0.1:9/x.git", tmp_path / "mirror")
    assert "canary" not in words(refused.value)


def test_the_users_own_helper_answers_for_a_login_without_password(
    tmp_path: Path, origin: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    helper = f"!f() {{ echo password={PASSWORD}; }}; f"
    subprocess.run(
        ["git", "config", "--file", tmp_path / "home" / ".gitconfig", "credential.helper", helper], check=True
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert git.remote_head(f"http://ann@127.0.0.1:{origin.port}/", "main") is not None
    # A password of the settings wins, and the user's helper is not asked to store it.
    with pytest.raises(SettingsError):
        git.remote_head(origin.url("ann", WRONG), "main")


@pytest.mark.parametrize("way", ["mirror", "remote_head"])
def test_a_hung_origin_ends_in_time_and_leaves_no_process(tmp_path: Path, origin: GitServer, way: str) -> None:
    origin.answer.clear()
    url, ways = origin.url("ann", QUOTED), {"mirror": lambda: git.mirror(url, tmp_path / "mirror", timeout=1.0)}
    ways["remote_head"] = lambda: git.remote_head(url, "main", timeout=1.0)
    with pytest.raises(TransientError, match="did not answer") as caught:
        ways[way]()
    assert [process for process in psutil.Process().children(recursive=True) if "git" in process.name()] == []
    assert "canary" not in words(caught.value)


def test_a_set_up_keeps_the_login_in_its_own_file_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, setup = Folder.at(tmp_path / "here"), Setup(repo=f"https://ann:{QUOTED}@example.org/x.git")
    with caplog.at_level(logging.DEBUG):
        folder.write(setup)
        read = folder.read()
    assert replace(read, root="", installation="", named="") == setup
    assert read.repo == "https://example.org/x.git"
    assert QUOTED not in f"{read} {read!r} {caplog.text}"
    assert files_with(QUOTED, tmp_path) == [folder.file]
    assert folder.file.stat().st_mode & 0o077 == 0
    assert read.variables(folder)["CONCEPTRY_REPO_LOGIN"] == f"ann:{QUOTED}"
    assert "CONCEPTRY_REPO_LOGIN" not in Setup(repo="x").variables(folder)
