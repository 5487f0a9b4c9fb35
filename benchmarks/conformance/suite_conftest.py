"""Fixtures for the client's tests, whose sdist has none; `benchmarks.conformance` copies this file beside them."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

# These modules lie beside the copy.
from .testing_constants import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
    ENDPOINT_PRODUCTION,
    ENDPOINT_STAGING,
    TOKEN,
)
from .testing_utils import repo_name  # type: ignore[import-untyped,import-not-found,unused-ignore]

RepoFactory = Any
SKIPPED = {
    "production": "needs the Hub on the internet",
    "xet": "needs Xet storage",
    "git_lfs": "needs git-lfs",
    "asyncio": "needs pytest-asyncio",
}
PLACES = {
    "HF_HOME": ".",
    "HF_HUB_CACHE": "hub",
    "HUGGINGFACE_HUB_CACHE": "hub",
    "HF_XET_CACHE": "xet",
    "HF_ASSETS_CACHE": "assets",
    "HF_TOKEN_PATH": "token",
    "HF_STORED_TOKENS_PATH": "stored_tokens",
}


@pytest.fixture(autouse=True)
def _isolated_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        for name, place in PLACES.items():
            monkeypatch.setattr(constants, name, str(Path(home) / place))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_EXPERIMENTAL_WARNING", True)
        yield


@pytest.fixture(autouse=True)
def _skip_unsupported(request: pytest.FixtureRequest) -> None:
    for marker, reason in SKIPPED.items():
        if request.node.get_closest_marker(marker):
            pytest.skip(reason)


@pytest.fixture(scope="session")
def api() -> HfApi:
    """Return the client of the account that the tests are written for."""
    return HfApi(endpoint=ENDPOINT_STAGING, token=TOKEN)


@pytest.fixture(scope="session")
def api_prod() -> HfApi:
    """Return the client of the Hub on the internet, for tests that are skipped here."""
    return HfApi(endpoint=ENDPOINT_PRODUCTION)


@pytest.fixture
def repo_factory(api: HfApi) -> Iterator[Any]:
    """Return a function that creates repos; delete them afterwards."""
    made: list[tuple[str, str, str | None]] = []

    def make(repo_type: str = "model", repo_id: str | None = None, token: str | None = None, **options: Any) -> Any:
        if repo_type == "space":
            options.setdefault("space_sdk", "gradio")
        name = repo_id or repo_name(prefix=repo_type)
        url = api.create_repo(name, repo_type=repo_type, token=token, **options)
        made.append((url.repo_id, repo_type, token))
        return url

    yield make
    for name, repo_type, token in made:
        with contextlib.suppress(Exception):
            api.delete_repo(name, repo_type=repo_type, token=token)
