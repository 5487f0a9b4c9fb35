"""Settings come from the environment; what is wrong is said at once, and a token is never printed."""

from pathlib import Path

import pytest

from conceptry.errors import SettingsError
from conceptry.settings import Settings

TOKEN = "hf_very_secret"


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCEPTRY_REPO", "https://example.org/concepts.git")
    monkeypatch.setenv("CONCEPTRY_HUB_OWNER", "ann")
    monkeypatch.setenv("CONCEPTRY_HUB_TOKEN", TOKEN)
    monkeypatch.setenv("CONCEPTRY_HUB_ENDPOINT", "http://127.0.0.1:5000/")
    monkeypatch.setenv("CONCEPTRY_MAX_PARALLEL", "3")
    monkeypatch.setenv("CONCEPTRY_BASE_DIR", "")
    settings = Settings()
    assert (settings.repo, settings.branch, settings.hub_owner) == ("https://example.org/concepts.git", "main", "ann")
    assert (settings.hub_endpoint, settings.max_parallel, settings.backend) == ("http://127.0.0.1:5000", 3, "local")
    assert settings.work == Path(".conceptry/work")
    assert settings.base_dir is None
    assert settings.hub_token is not None
    assert settings.hub_token.get_secret_value() == TOKEN


def test_all_that_is_missing_or_wrong_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(hub_token=TOKEN, hub_endpoint="hub.example.org", backend="moon", max_parallel=0)
    message = str(caught.value)
    for words in (
        "CONCEPTRY_REPO: is missing (URL or path of the git repo that holds concepts/.)",
        "CONCEPTRY_HUB_OWNER: is missing",
        "CONCEPTRY_HUB_ENDPOINT: must start with https:// or http://",
        "CONCEPTRY_BACKEND: Input should be 'local' or 'vertex'",
        "CONCEPTRY_MAX_PARALLEL: Input should be greater than or equal to 1",
    ):
        assert words in message
    assert TOKEN not in message


def test_the_token_is_never_printed() -> None:
    settings = Settings(repo="a", hub_owner="b", hub_token=TOKEN)
    assert TOKEN not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_dotenv_file_in_a_clone_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("CONCEPTRY_HUB_ENDPOINT=http://evil.example\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert Settings(repo="a", hub_owner="b").hub_endpoint == "https://huggingface.co"
