"""One repository, one id, however its address is written; others have others."""

from pathlib import Path

import pytest

from conceptry.installation_id import installation_id, repo_identity

HUB = "https://huggingface.co"


def id_of(
    repo: str = "https://github.com/ann/cats", owner: str = "ann", branch: str = "main", endpoint: str = HUB
) -> str:
    return installation_id(endpoint, owner, repo, branch)


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/ann/cats.git",
        "https://ann:secret@GitHub.com/ann/cats/",
        "git@github.com:ann/cats.git",
        "ssh://git@github.com/ann/cats",
        "github.com:ann/cats",
    ],
)
def test_addresses_of_one_repository(address: str) -> None:
    assert repo_identity(address) == "github.com/ann/cats"
    assert id_of(address) == id_of()
    assert "secret" not in id_of(address)


def test_addresses_of_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert repo_identity("origin.git") == repo_identity(f"file://{tmp_path}/origin.git") == f"{tmp_path}/origin"


def test_what_makes_another_installation() -> None:
    others = [
        id_of("https://github.com/ann/dogs"),
        id_of("https://github.com/bob/cats"),
        id_of("https://gitlab.com/ann/cats"),
        id_of("https://github.com:8443/ann/cats"),
        id_of(owner="bob"),
        id_of(branch="test"),
        id_of(endpoint="http://127.0.0.1:5000"),
    ]
    assert len({id_of(), *others}) == 8


def test_owners_compare_as_on_the_hub() -> None:
    assert id_of(owner="Ann") == id_of(owner="ann")
