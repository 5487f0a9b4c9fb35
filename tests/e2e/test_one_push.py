"""A user's whole way with commands alone: a push, a version, a mistake, a rollback by `git revert`.

Everything runs as processes: `conceptry up`, git, dvc and `conceptry`. The training is short, but long enough to pass
its gate.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conceptry.errors import ConceptryError
from local.demo.user import User, draw_images
from tests.support.up_process import start_up
from tests.support.wait import wait_until

NAME = "night-light"
SPEC = Path("concepts") / NAME / "concept.yaml"


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    """A user in a repository with DVC, whose `conceptry up` runs in another terminal."""
    user = User(tmp_path / "library", tmp_path, show=lambda _: None)
    user.clone.mkdir()
    user.run("git", "init", "--quiet")
    user.run("dvc", "init", "--quiet")
    user.run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    _commit(user, "Begin")
    up, _ = start_up(user.clone)
    try:
        yield user
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=60) == 0
    finally:
        up.kill()
        up.communicate()


@pytest.mark.e2e
def test_from_pictures_to_a_version_and_back(user: User, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    draw_images(pictures, "teal", "circle", ["1", "2", "3"], seed=7)
    user.run("conceptry", "new", NAME, "--images", str(pictures), "--token", f"<{NAME}>", "--init", "circle")
    _change(user, training={"max_steps": 40})
    user.run("dvc", "push")
    _commit(user, "Teach night-light")

    wait_until(lambda: _versions(user).get("released") == "v1", timeout=180, every=3)
    wait_until(lambda: _in_sync(user), every=3)
    user.run("conceptry", "pull", f"{NAME}@v1", str(tmp_path / "v1"))
    assert (tmp_path / "v1" / "learned_embeds.safetensors").stat().st_size > 0
    user.run("conceptry", "verify")

    # A mistake is named with its file, and what is published stays as it is.
    good = (user.clone / SPEC).read_text()
    (user.clone / SPEC).write_text(good + "relase: v1\n")
    with pytest.raises(ConceptryError, match=r"relase") as failure:
        user.run("conceptry", "lint")
    assert str(SPEC) in str(failure.value)
    (user.clone / SPEC).write_text(good)

    # `release: none` pauses the Space; reverting that commit serves v1 again, without a training.
    _change(user, release="none")
    _commit(user, "Take night-light back")
    wait_until(lambda: _versions(user)["released"] is None, every=3)
    user.run("git", "revert", "--no-edit", "HEAD")
    wait_until(lambda: _versions(user)["released"] == "v1", every=3)
    assert [version["version"] for version in _versions(user)["versions"]] == ["v1"]


def _commit(user: User, message: str) -> None:
    user.run("git", "add", "--all")
    user.run("git", "commit", "--quiet", "--message", message)


def _change(user: User, **keys: object) -> None:
    path = user.clone / SPEC
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))


def _versions(user: User) -> dict[str, Any]:
    """Return what is published, `{}` while nothing is."""
    try:
        return dict(json.loads(user.run("conceptry", "versions", NAME, "--json")))
    except ConceptryError:
        return {}


def _in_sync(user: User) -> bool:
    """Return whether `conceptry plan` ends with 0, after which nothing is to be done."""
    try:
        return "in sync" in user.run("conceptry", "plan")
    except ConceptryError:
        return False
