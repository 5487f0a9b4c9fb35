"""`conceptry up --cloud-emulated`: what the flows are told of the emulated cloud is what it is."""

from pathlib import Path

import pytest

from conceptry.settings import Settings
from conceptry.vertex_settings import VertexSettings
from emulators.vertex.certificate import Keys
from emulators.vertex.cloud import Cloud
from local.setup_folder import CLOUD_BUCKET, CLOUD_PROJECT, Folder, Setup


def test_the_flows_find_the_emulated_cloud(tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, setup = Folder.at(tmp_path), Setup(repo="here", cloud_emulated=True)
    variables = setup.variables(folder)
    assert cloud.environment().keys() <= variables.keys()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings().backend == "vertex"
    vertex = VertexSettings()
    assert (vertex.project, CLOUD_BUCKET) == (cloud.project.name, cloud.bucket)
    assert vertex.job_link("projects/x/locations/y/customJobs/7") == f"{setup.cloud_pages}/jobs/7"
    keys = Keys(folder.cloud / "keys")
    assert (str(keys.roots), keys.account_file) == (
        variables["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"],
        setup.cloud_key(folder),
    )
    assert CLOUD_PROJECT in vertex.image


def test_without_it_nothing_is_said_about_a_cloud(tmp_path: Path) -> None:
    variables = Setup(repo="here").variables(Folder.at(tmp_path))
    assert not [name for name in variables if "VERTEX" in name or "GOOGLE" in name or "STORAGE" in name]
    assert variables["CONCEPTRY_BACKEND"] == "local"


def test_the_choice_is_remembered(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path)
    folder.write(Setup(repo="here", cloud_emulated=True))
    assert folder.read().cloud_emulated
