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


@pytest.mark.parametrize(
    ("address", "shown", "login"),
    [
        ("https://ann:p%40ss@example.org/x.git", "https://example.org/x.git", "ann:p%40ss"),
        ("http://hf_very_secret@example.org:81/x.git", "http://example.org:81/x.git", "hf_very_secret"),
        ("https://a@b:c@d@example.org/x@y", "https://example.org/x@y", "a@b:c@d"),
        ("ssh://git:hf_very_secret@example.org/x.git", "ssh://git@example.org/x.git", None),
        ("git@example.org:team/x.git", "git@example.org:team/x.git", None),
        ("https://example.org/x.git", "https://example.org/x.git", None),
        ("/srv/a@b/x.git", "/srv/a@b/x.git", None),
    ],
)
def test_the_login_of_the_repo_is_kept_apart_from_its_address(address: str, shown: str, login: str | None) -> None:
    settings = Settings(repo=address, hub_owner="b")
    assert settings.repo == shown
    assert (settings.repo_login and settings.repo_login.get_secret_value()) == login
    if login:
        assert login not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_login_may_be_set_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCEPTRY_REPO", "https://example.org/x.git")
    monkeypatch.setenv("CONCEPTRY_REPO_LOGIN", "ann:secret")
    settings = Settings(hub_owner="b")
    assert settings.repo_login is not None
    assert settings.repo_login.get_secret_value() == "ann:secret"


def test_a_work_folder_that_is_given_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command and each run would have one of its own otherwise, in the folder where it happens to start."""
    monkeypatch.setenv("CONCEPTRY_WORK", "work")
    with pytest.raises(SettingsError, match="CONCEPTRY_WORK: must be an absolute path, for example /"):
        Settings(repo="a", hub_owner="b")
    monkeypatch.setenv("CONCEPTRY_WORK", "/var/work")
    assert Settings(repo="a", hub_owner="b").work == Path("/var/work")


def test_the_login_of_the_code_is_kept_apart_from_its_address() -> None:
    settings = Settings(repo="a", hub_owner="b", code="https://ann:hf_very_secret@example.org/code.git")
    assert settings.code == "https://example.org/code.git"
    assert settings.code_login is not None
    assert TOKEN not in f"{settings} {settings!r}"
