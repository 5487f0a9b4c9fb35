"""What tests of several tasks share: a local Hub, and a client of it that dies."""

from collections.abc import Iterator

import pytest
from huggingface_hub import set_client_factory
from pydantic import SecretStr

from conceptry.installation import HubTarget
from emulators.hub.server import running
from tasks.hub.client import new_client
from tests.support.killed_client import KillAfter, kill_client_after


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubTarget]:
    """A Hub of its own for each test module."""
    with running(tmp_path_factory.mktemp("hub")) as server:
        yield HubTarget(server.url, "local", SecretStr("hf_local"))


@pytest.fixture
def kill_after() -> Iterator[KillAfter]:
    """Make the client die after its k-th request; 0 for never."""
    yield kill_client_after
    set_client_factory(new_client)
