"""`conceptry playground` and `endpoint` talk to the Hub of their set-up, whoever else listens where it used to be."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from emulators.hub.server import running
from flows.cli.playground import with_hub
from flows.stack.embedded import Stack, is_open
from flows.stack.folder import Folder, Setup


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """A set-up writes itself into the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_a_hub_of_somebody_else_at_the_remembered_port_is_left_alone(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path / "setup")
    with running(tmp_path / "theirs") as theirs, ExitStack() as ours:
        HfApi(endpoint=theirs.url, token="hf_local").create_repo("local/my-cat")
        folder.write(Setup(repo="r", hub_port=int(theirs.url.rpartition(":")[2])))
        settings = with_hub(folder.root, ours)
        assert settings.hub_endpoint != theirs.url
        assert list(HfApi(endpoint=settings.hub_endpoint, token="hf_local").list_models()) == []


def test_the_hub_that_up_runs_is_used(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path / "setup")
    with running(folder.hub) as hub, Stack(folder, Setup(repo="r")) as up, ExitStack() as ours:
        folder.write(Setup(repo="r", hub_port=int(hub.url.rpartition(":")[2])))
        assert not is_open(folder)
        up._open_alone()
        assert is_open(folder)
        assert with_hub(folder.root, ours).hub_endpoint == hub.url
