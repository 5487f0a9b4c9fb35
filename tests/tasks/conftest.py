"""What tests of several tasks share: a local Hub."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from conceptry.installation import HubTarget
from emulators.hub.server import running


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubTarget]:
    """A Hub of its own for each test module."""
    with running(tmp_path_factory.mktemp("hub")) as server:
        yield HubTarget(server.url, "local", SecretStr("hf_local"))
