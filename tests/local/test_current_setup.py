"""Which set-up a command uses: the nearest one around, unless `--root` or the environment names an installation."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conceptry.errors import SettingsError
from local.current_setup import folder_in_use, open_installation
from local.setup_folder import Folder, Setup


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """A set-up writes itself into the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder deep in a repository whose top has a set-up; it is the working directory."""
    Folder.at(tmp_path / "pets" / ".conceptry").write(Setup(repo=str(tmp_path / "origin.git"), hub_owner="kim"))
    folder = tmp_path / "pets" / "concepts" / "my-cat"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def test_it_is_found_from_every_folder_of_the_repository(below: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (below, below.parent, below.parent.parent):
        monkeypatch.chdir(folder)
        with open_installation(None) as installation:
            assert installation.hub.owner == "kim"
    monkeypatch.chdir(below.parents[2])
    with pytest.raises(SettingsError, match="CONCEPTRY_REPO"), open_installation(None):
        pass


@pytest.mark.parametrize("name", ["CONCEPTRY_BASE_DIR", "CONCEPTRY_WORK", "CONCEPTRY_REPO", "CONCEPTRY_HUB_TOKEN"])
def test_one_variable_does_not_switch_it_off(below: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, str(below))
    with open_installation(None) as installation:
        assert installation.hub.owner == "kim"
        assert installation.base_dir == (below if name == "CONCEPTRY_BASE_DIR" else None)


def test_an_environment_that_names_an_installation_wins(below: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCEPTRY_REPO", "https://git.example.org/pets.git")
    monkeypatch.setenv("CONCEPTRY_HUB_OWNER", "acme")
    with open_installation(None) as installation:
        assert installation.hub.owner == "acme"
    root = below.parents[1] / ".conceptry"
    with open_installation(root) as installation:
        assert installation.hub.owner == "kim", "and --root wins over both"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to another user")
def test_that_of_another_user_is_not_used(below: Path) -> None:
    file = below.parents[1] / ".conceptry" / "conceptry.toml"
    os.chown(file, 12345, -1)
    assert folder_in_use(None) is None
    assert folder_in_use(file.parent) is not None, "unless it is named"


def test_its_processes_get_what_it_does_not_say_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "CONCEPTRY_HUB_OWNER": "acme",
        "CONCEPTRY_HUB_TOKEN_BLOCK": "theirs",
        "CONCEPTRY_TRAINER_IDLE_SECONDS": "7",
        "CONCEPTRY_VERTEX_PROJECT": "production",
        "CONCEPTRY_VERTEX_CONCEPTS_PER_JOB": "10",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    setup = Setup(repo="x", hub_owner="kim")
    variables = setup.variables(Folder.at(tmp_path))
    assert variables["CONCEPTRY_HUB_OWNER"] == "kim"
    assert {name: variables.get(name) for name in given if variables.get(name) == given[name]} == {
        "CONCEPTRY_TRAINER_IDLE_SECONDS": "7"
    }
    emulated = replace(setup, cloud_emulated=True).variables(Folder.at(tmp_path))
    assert emulated["CONCEPTRY_VERTEX_CONCEPTS_PER_JOB"] == "10"
    assert emulated["CONCEPTRY_VERTEX_PROJECT"] != "production"
