"""A token of the Hub that is rotated while a run lasts is read again."""

from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError
from pydantic import SecretStr

from conceptry.errors import HubError
from conceptry.installation import HubTarget
from emulators.hub.accounts import Account, Accounts
from emulators.hub.server import running
from tasks.hub import HubSession
from tasks.hub.client import translate_errors
from tests.support.secrecy import words


def test_a_revoked_token_is_read_again_in_the_middle_of_a_run(tmp_path: Path) -> None:
    before, after = (Accounts([Account(name="local", token=token)]) for token in ("canary-old", "canary-new"))
    reads: list[str] = []

    def renew() -> SecretStr:
        reads.append("read")
        return SecretStr("canary-new")

    with running(tmp_path / "hub", accounts=before) as hub:
        port = int(hub.url.rpartition(":")[2])
        session = HubSession(HubTarget(hub.url, "local", SecretStr("canary-old"), renew))
        session.create_repo("cat", private=True)
        assert reads == []
    with running(tmp_path / "hub", accounts=after, port=port):
        files = [CommitOperationAdd("a.bin", b"\0" * 2_000_000), CommitOperationAdd("a.txt", b"text")]
        commit = session.commit("cat", "after the rotation", files)
        assert session.read("cat", "a.txt", commit) == b"text"
        assert session.api.model_info("local/cat").private
    assert reads == ["read"]


def test_a_token_that_stays_refused_is_one_error_without_it(tmp_path: Path) -> None:
    with running(tmp_path / "hub") as hub:
        target = HubTarget(hub.url, "local", SecretStr("canary-old"), lambda: SecretStr("canary-also-old"))
        with pytest.raises(HubError, match="CONCEPTRY_HUB_TOKEN_BLOCK") as caught, translate_errors(target, "reading"):
            HubSession(target).api.whoami()
        assert "canary" not in words(caught.value)


def test_a_source_that_fails_leaves_the_hubs_answer(tmp_path: Path) -> None:
    def renew() -> SecretStr:
        raise ConnectionError("Prefect is down")

    with running(tmp_path / "hub") as hub:
        session = HubSession(HubTarget(hub.url, "local", SecretStr("canary-old"), renew))
        with pytest.raises(HfHubHTTPError) as caught:
            session.api.whoami()
        assert caught.value.response.status_code == 401


def test_a_successor_goes_to_its_own_hub_only(tmp_path: Path) -> None:
    with running(tmp_path / "ours") as ours, running(tmp_path / "theirs") as theirs:
        target = HubTarget(ours.url, "local", SecretStr("canary-old"), lambda: SecretStr("hf_local"))
        assert HubSession(target).api.whoami()["name"] == "local"
        other = HubSession(HubTarget(theirs.url, "local", SecretStr("canary-old")))
        with pytest.raises(HfHubHTTPError):
            other.api.whoami()
