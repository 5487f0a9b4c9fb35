"""Fixtures of the Hub's tests: one Hub with three accounts, and unmodified clients of them."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi

from emulators.hub.server import RunningHub, running
from tests.support.hub_server import ACCOUNTS, CONFIG, TOKENS


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """Run one Hub for all tests of this folder; each test creates its own repos."""
    with running(tmp_path_factory.mktemp("hub"), accounts=ACCOUNTS, config=CONFIG) as hub:
        yield hub


@pytest.fixture(scope="session")
def api(hub: RunningHub) -> HfApi:
    """Return the client of the account anna."""
    return HfApi(endpoint=hub.url, token=TOKENS["anna"])


@pytest.fixture(scope="session")
def ben(hub: RunningHub) -> HfApi:
    """Return the client of the account ben, who is no member of anna's namespaces."""
    return HfApi(endpoint=hub.url, token=TOKENS["ben"])


@pytest.fixture(scope="session")
def stranger(hub: RunningHub) -> HfApi:
    """Return a client without a token."""
    return HfApi(endpoint=hub.url, token=False)


@pytest.fixture(scope="session")
def http() -> Iterator[httpx2.Client]:
    """Return an HTTP client for requests that huggingface_hub does not make."""
    with httpx2.Client(timeout=60) as client:
        yield client


_numbers = count()


@pytest.fixture
def new_repo(api: HfApi) -> Callable[..., str]:
    """Return a function that creates repos of anna; it takes the arguments of create_repo."""

    def make(owner: str = "anna", **options: object) -> str:
        return str(api.create_repo(f"{owner}/repo-{next(_numbers)}", **options).repo_id)  # type: ignore[arg-type]

    return make


@pytest.fixture
def accounts_file(tmp_path: Path) -> Path:
    """Write an accounts file."""
    path = tmp_path / "accounts.yaml"
    path.write_text("- {name: anna, token: hf_anna}\n- {name: ben, token: hf_ben}\n", encoding="utf-8")
    return path
