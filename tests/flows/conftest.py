"""What the tests of the flows share: one Prefect server, one Hub, and for each test a world with its own origin."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from emulators.hub.server import running
from flows.serve import deployments
from tests.flows.origins import World, answers, wait_until

START_TIMEOUT = 120.0


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server with the deployments of prefect.yaml, which this process and its children talk to."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    os.environ.update({"PREFECT_HOME": str(home), "PREFECT_API_URL": api, "PREFECT_LOGGING_LEVEL": "WARNING"})
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    command = [sys.executable, "-m", *command]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: answers(f"{api}/health"), START_TIMEOUT)
        with temporary_settings(updates={PREFECT_API_URL: api}):
            for deployment in deployments(watch_every=3600):
                deployment.apply(_sync=True)
            yield api
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="session")
def hub_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A local Hub; concepts of different tests have different names there."""
    with running(tmp_path_factory.mktemp("hub")) as server:
        yield server.url


@pytest.fixture
def world(tmp_path: Path, prefect_api: str, hub_url: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """An origin, its DVC remote, and the settings in the environment that name them."""
    del prefect_api
    world = World(tmp_path, hub_url)
    world.start()
    for name, value in world.variables().items():
        monkeypatch.setenv(name, value)
    return world
