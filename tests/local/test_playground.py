"""`conceptry playground` and `endpoint` talk to the Hub of their set-up, whoever else listens where it used to be."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from conceptry.errors import SpecError
from conceptry.settings import Settings
from emulators.hub.server import running
from flows.current_installation import build_installation
from local.current_setup import installation_of
from local.serve_playground import page_environment, spec_of_today, with_hub
from local.servers import Stack
from local.setup_folder import Folder, Setup


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """A set-up writes itself into the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_a_hub_of_somebody_else_at_the_remembered_port_is_left_alone(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path / "setup")
    with running(tmp_path / "theirs") as theirs, ExitStack() as ours:
        HfApi(endpoint=theirs.url, token="hf_local").create_repo("local/my-cat")
        folder.write(Setup(repo="r", hub_port=int(theirs.url.rpartition(":")[2])))
        target = with_hub(folder.root, ours).hub
        assert target.endpoint != theirs.url
        assert list(HfApi(endpoint=target.endpoint, token="hf_local").list_models()) == []


def test_the_hub_that_up_runs_is_used(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path / "setup")
    with running(folder.hub) as hub, Stack(folder, Setup(repo="r")) as up, ExitStack() as ours:
        folder.write(Setup(repo="r", hub_port=int(hub.url.rpartition(":")[2])))
        assert not folder.is_open()
        up.open_alone()
        assert folder.is_open()
        assert with_hub(folder.root, ours).hub.endpoint == hub.url


def test_the_space_looks_as_concept_yaml_says_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone, file = tmp_path / "clone", Path("concepts/my-cat/concept.yaml")
    text = "placeholder_token: <my-cat>\ninitializer_token: cat\nspace: {title: Committed}\n"
    subprocess.run(["git", "init", "-q", str(clone)], check=True)
    (clone / file).parent.mkdir(parents=True)
    (clone / file).write_text(text)
    for command in (["add", "."], ["commit", "-qm", "Add my-cat"]):
        subprocess.run(["git", "-C", str(clone), *command], check=True)
    installation = build_installation(Settings(repo=str(clone), hub_owner="local", work=tmp_path / "work"))

    def title(name: str = "my-cat") -> str | None:
        spec = spec_of_today(installation, name)
        return spec.space.title if spec else None

    assert title() == "Committed"
    assert title("my-dog") is None
    monkeypatch.chdir(clone)
    file.write_text(text.replace("Committed", "Being tried"))
    assert title() == "Being tried"
    file.write_text("nonsense: 1\n")
    with pytest.raises(SpecError, match="nonsense"):
        title()
    monkeypatch.chdir(tmp_path)
    assert title() == "Committed", "what lies elsewhere is not looked at"


def test_a_page_gets_no_token_that_may_write(tmp_path: Path) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "CONCEPTRY_HUB_TOKEN", "HF_TOKEN", "X"):
        os.environ[name] = "canary"
    for space_token, expected in ((None, None), ("canary", None), ("reads", "reads")):
        settings = Settings(repo="r", hub_owner="local", hub_token="canary", space_token=space_token)
        environment = page_environment(build_installation(settings), tmp_path, 1234)
        assert "canary" not in environment.values()
        assert environment.get("HF_TOKEN") == expected
        assert environment["PATH"] == os.environ["PATH"]


def test_the_page_of_a_set_up_reads_its_private_models(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path / "setup")
    with running(folder.hub) as hub:
        setup = Setup(repo="r", hub_port=int(hub.url.rpartition(":")[2]))
        token = page_environment(installation_of(folder, setup), tmp_path, 1234)["HF_TOKEN"]
        HfApi(endpoint=hub.url, token="hf_local").create_repo("local/shy-cat", private=True)
        reader = HfApi(endpoint=hub.url, token=token)
        assert reader.model_info("local/shy-cat").private
        with pytest.raises(HfHubHTTPError):
            reader.create_branch("local/shy-cat", branch="mine")
