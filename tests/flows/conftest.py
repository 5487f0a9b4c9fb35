"""What the tests of the flows share: one Prefect server, one Hub, and for each test a world with its own origin."""

from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from prefect.logging.handlers import APILogHandler
from prefect.settings import (
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)

from emulators.hub.server import running
from local.child_process import Child, answers, clean_environment, free_port
from local.serve_flows import deployments
from tasks.processes import python_module
from tests.support.registry_world import World


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The Prefect server of `conceptry up` with the deployments of prefect.yaml; its address is for child processes."""
    home = tmp_path_factory.mktemp("prefect")
    port = free_port(0)
    api = f"http://127.0.0.1:{port}/api"
    # As in Prefect's own test harness: no UI, and no scheduler that adds runs to what a test looks at.
    variables = clean_environment() | {
        "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT__SERVER_EPHEMERAL": "1"
    }  # fmt: skip
    command = python_module("local.prefect_server", "--port", str(port))
    server = Child("Prefect", command, variables, home / "server.log", lambda: answers(f"{api}/health"), home)
    server.start()
    try:
        server.wait_until_ready(180)
        quick = {
            # A run waits for its heartbeat's thread, which sleeps in steps of a second.
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
            # Every client reads all certificates, also over http: 20 ms, several times a run. Here there is one.
            PREFECT_API_SSL_CERT_FILE: str(one_certificate(home)),
        }
        with temporary_settings(updates={PREFECT_API_URL: api, **quick}):
            for deployment in deployments(watch_every=3600):
                deployment.apply(_sync=True)
            yield api
            APILogHandler().flush()
    finally:
        server.request_stop()
        server.wait()


def one_certificate(folder: Path) -> Path:
    """Write the first of the certificates that Prefect's clients trust to a file of its own."""
    end = "-----END CERTIFICATE-----\n"
    path = folder / "one.pem"
    path.write_text(Path(certifi.where()).read_text(encoding="utf-8").split(end, 1)[0] + end, encoding="utf-8")
    return path


@pytest.fixture
def hub_url(tmp_path: Path) -> Iterator[str]:
    """An empty local Hub."""
    with running(tmp_path / "hub") as server:
        yield server.url


@pytest.fixture
def world(tmp_path: Path, prefect_api: str, hub_url: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """An origin, its DVC remote, and the settings in the environment that name them."""
    world = World(tmp_path, hub_url, prefect_api)
    world.start()
    for name, value in world.variables().items():
        monkeypatch.setenv(name, value)
    return world
