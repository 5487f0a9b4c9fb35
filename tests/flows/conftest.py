"""What the tests of the flows share: one Prefect server, one Hub, and for each test a world with its own origin."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, get_current_settings, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from emulators.hub.server import running
from local.serve import deployments
from tests.support.registry_world import World


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[str]:
    """A Prefect server with the deployments of prefect.yaml; its address is for child processes."""
    # A run waits for its heartbeat's thread, which sleeps in steps of a second.
    calm = temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
    with prefect_test_harness(server_startup_timeout=120), calm:
        for deployment in deployments(watch_every=3600):
            deployment.apply(_sync=True)
        yield str(get_current_settings().api.url)


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
