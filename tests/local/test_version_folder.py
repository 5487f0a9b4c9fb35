"""`conceptry playground` and `endpoint` with a version's files in a folder: no Hub, no set-up, no settings."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from conceptry.errors import ConceptryError
from local.version_folder import is_version_folder, manifest_of, render_page, title_of, weights_variables
from tasks.processes import python_module
from tests.support.bundles import make_bundle, make_spec

OFFLINE = """
import json, sys
from huggingface_hub import snapshot_download
settings = json.load(open(sys.argv[1]))
print(snapshot_download(settings["model_repo"], revision=settings["revision"], allow_patterns=["*.safetensors"]))
"""


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "pulled", "my-cat", fingerprint="a1" * 32, spec=make_spec())


def test_a_page_finds_the_files_without_a_hub(version: Path, tmp_path: Path) -> None:
    assert is_version_folder(str(version))
    assert not is_version_folder("my-cat@v1")
    manifest, cache = manifest_of(version), tmp_path / "cache"
    assert title_of(manifest) == "my-cat"
    place = render_page(version, manifest, tmp_path / "page", cache)
    assert json.loads((place / "settings.json").read_text())["placeholder_token"] == "<x>"
    assert (place / "app.py").is_file()
    environment = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [*python_module("x")[:2], "-c", OFFLINE, str(place / "settings.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = Path(done.stdout.strip()) / "learned_embeds.safetensors"
    assert found.read_bytes() == (version / "learned_embeds.safetensors").read_bytes()


def test_what_is_no_version_is_said(version: Path, tmp_path: Path) -> None:
    (version / "concept.json").write_text("{}")
    with pytest.raises(ConceptryError, match=r"is not the manifest of a version; pull the version again"):
        manifest_of(version)
    for command in ("playground", "endpoint"):
        done = subprocess.run(python_module("cli", command, str(version)), cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr


def test_the_default_folder_of_weights_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert weights_variables() == {}
    (tmp_path / "conceptry" / "sd-v1-4").mkdir(parents=True)
    assert weights_variables() == {"CONCEPTRY_BASE_DIR": str(tmp_path / "conceptry" / "sd-v1-4")}
    assert weights_variables(tmp_path) == {"CONCEPTRY_BASE_DIR": str(tmp_path)}
