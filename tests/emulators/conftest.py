"""A hub with three accounts, driven by the unmodified client."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi

from emulators.hub.accounts import Account, Accounts, Organization
from emulators.hub.config import HubConfig
from emulators.hub.server import RunningHub, running

TOKENS = {"anna": "hf_anna", "ben": "hf_ben", "reader": "hf_reader"}
ACCOUNTS = Accounts(
    [
        Account(
            name="anna",
            fullname="Anna A.",
            token=TOKENS["anna"],
            organizations=(Organization(name="team", private_by_default=True),),
        ),
        Account(name="ben", token=TOKENS["ben"]),
        Account(name="reader", token=TOKENS["reader"], role="read"),
    ]
)
# What an application that publishes models might ask of a Hub's pages.
VERDICTS = {"list": "registry.versions", "revision": "v{number}", "verdict": "verdict", "shown": ["passed", "rejected"]}
CONFIG = HubConfig.model_validate(
    {
        "pages": {"manifest": "manifest.json", "picture": "samples/grid.png", "verdicts": VERDICTS},
        "apps": {"inherit": ["APP_CACHE"], "variables": {"APP_API": "{hub}/v2"}},
    }
)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """One hub for all tests of this room; each test makes repos of its own."""
    with running(tmp_path_factory.mktemp("hub"), accounts=ACCOUNTS, config=CONFIG) as hub:
        yield hub


@pytest.fixture(scope="session")
def api(hub: RunningHub) -> HfApi:
    """The client of anna."""
    return HfApi(endpoint=hub.url, token=TOKENS["anna"])


@pytest.fixture(scope="session")
def ben(hub: RunningHub) -> HfApi:
    """The client of somebody else."""
    return HfApi(endpoint=hub.url, token=TOKENS["ben"])


@pytest.fixture(scope="session")
def stranger(hub: RunningHub) -> HfApi:
    """The client of nobody."""
    return HfApi(endpoint=hub.url, token=False)


@pytest.fixture(scope="session")
def http() -> Iterator[httpx2.Client]:
    """For requests that the client would not make, on connections that stay open."""
    with httpx2.Client(timeout=60) as client:
        yield client


_numbers = count()


@pytest.fixture
def new_repo(api: HfApi) -> Callable[..., str]:
    """Makes repos of anna, with the arguments of create_repo."""

    def make(owner: str = "anna", **options: object) -> str:
        return str(api.create_repo(f"{owner}/repo-{next(_numbers)}", **options).repo_id)  # type: ignore[arg-type]

    return make


@pytest.fixture
def accounts_file(tmp_path: Path) -> Path:
    """The same accounts as a file."""
    path = tmp_path / "accounts.yaml"
    path.write_text("- {name: anna, token: hf_anna}\n- {name: ben, token: hf_ben}\n", encoding="utf-8")
    return path
