"""`conceptry base add` brings a checkpoint into the folder of weights and describes it in bases.yaml."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from conceptry.bases import load_bases
from conceptry.errors import ConceptryError, TransientError
from emulators.hub.server import running
from tasks.base_download import download
from tasks.base_entries import add_entry, presets, read_entries
from tasks.weights_files import missing_files
from tests.support.sd_checkpoints import tensors, write_checkpoint, write_file
from trainer.base_weights.fetch import fetch

CLIP_MERGES = "bpe_simple_vocab_16e6.txt.gz"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    (folder / "concepts").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def test_a_file_is_described_once(top: Path, tmp_path: Path) -> None:
    weights, file = tmp_path / "weights", write_checkpoint(tmp_path / "downloads", "sd1", "original")
    (top / "bases.yaml").write_text("# ours\n")
    entry = add_entry(top, "dream-8", file, weights, license="openrail")
    assert (entry.kind, entry.prediction, entry.checkpoint) == ("sd1", "epsilon", "dream-8/sd1.safetensors")
    text = (top / "bases.yaml").read_text()
    assert text.startswith("# ours\n")
    assert load_bases(text) == {"dream-8": entry}
    assert missing_files(presets(top)["dream-8"], weights) == [CLIP_MERGES]
    assert add_entry(top, "dream-8", file, weights, license="openrail") == entry
    assert (top / "bases.yaml").read_text() == text
    with pytest.raises(ConceptryError, match="has another base model dream-8"):
        add_entry(top, "dream-8", file, weights, resolution=768)


def test_a_folder_of_diffusers_is_brought_with_what_is_read_of_it(top: Path, tmp_path: Path) -> None:
    folder, weights = write_checkpoint(tmp_path / "downloads", "sd2", "diffusers"), tmp_path / "weights"
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "model.safetensors").write_bytes(b"x" * 100)
    entry = add_entry(top, "two", folder, weights)
    assert (entry.kind, entry.prediction) == ("sd2", "v")
    assert "two/unet/diffusion_pytorch_model.safetensors" in entry.files
    assert not (weights / "two" / "safety_checker").exists()
    assert all((weights / path).is_file() for path in entry.files)


def test_what_it_cannot_train_on_is_refused_and_nothing_is_written(top: Path, tmp_path: Path) -> None:
    weight = tensors("sd1", "original")["single"]["model.diffusion_model.time_embed.0.weight"]
    lora = write_file(tmp_path / "lora.safetensors", {"lora_unet_mid.lora_down.weight": weight})
    with pytest.raises(ConceptryError, match="is a LoRA"):
        add_entry(top, "lora", lora, tmp_path / "weights")
    with pytest.raises(ConceptryError, match="does not say what its UNet predicts"):
        add_entry(top, "two", write_checkpoint(tmp_path, "sd2", "original"), tmp_path / "weights")
    with pytest.raises(ConceptryError, match="tiny is a preset"):
        add_entry(top, "tiny", lora, tmp_path / "weights")
    assert not (top / "bases.yaml").exists()


def test_the_command_says_what_comes_next(top: Path, tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "downloads", "sd2", "original", "float16")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "cli", "base", "add", str(file), "--dir", str(tmp_path / "w"), "--name", "two.1"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments], cwd=top, capture_output=True, text=True, check=False, env=environment
        )

    refused = run()
    assert (refused.returncode, "say which" in refused.stderr) == (1, True)
    done = run("--prediction", "v", "--resolution", "768")
    assert done.returncode == 0, done.stderr
    assert "two.1 is in bases.yaml: Stable Diffusion 2.x, predicts v, 768 px" in done.stdout
    assert "base_model: two.1" in done.stdout
    assert read_entries(top)["two.1"].resolution == 768


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HfApi]:
    """A local Hub with a model repo that is a folder of diffusers, and has a checkpoint in one file beside it."""
    with running(tmp_path / "hub") as server:
        api = HfApi(server.url, token="hf_local")
        api.create_repo("local/dream")
        folder = write_checkpoint(tmp_path / "repo", "sd2", "diffusers")
        (folder / "README.md").write_text("---\nlicense: openrail\n---\n")
        write_checkpoint(folder, "sd1", "original")
        api.upload_folder(repo_id="local/dream", folder_path=folder)
        yield api


def test_a_repo_of_the_hub_is_named_by_its_commit(top: Path, tmp_path: Path, hub: HfApi) -> None:
    weights, commit = tmp_path / "weights", hub.model_info("local/dream").sha
    found = download("local/dream", "dream", weights, lambda *_: None, hub.endpoint)
    assert (found.place, found.hub, found.license) == (weights / "dream", "local/dream", "openrail")
    entry = add_entry(top, "dream", found.place, weights, sources=found.sources, hub=found.hub, license=found.license)
    unet = "dream/unet/diffusion_pytorch_model.safetensors"
    assert entry.sources[unet] == [f"{hub.endpoint}/local/dream/resolve/{commit}/{unet.removeprefix('dream/')}"]
    shutil.rmtree(weights)
    named = [one for one in presets(top)["dream"].files if one.place in entry.files]
    assert len(fetch(named, weights)) == len(entry.files)

    single = download(f"local/dream@{commit}:sd1.safetensors", "one", weights, lambda *_: None, hub.endpoint)
    assert single.place == weights / "one" / "sd1.safetensors"
    with pytest.raises(ConceptryError, match="local/nothing could not be read"):
        download("local/nothing", "x", weights, lambda *_: None, hub.endpoint)
    with pytest.raises(ConceptryError, match="is no file and no folder here"):
        download("nothing", "x", weights, lambda *_: None)


def test_an_address_is_downloaded_and_kept_as_a_source(top: Path, tmp_path: Path, hub: HfApi) -> None:
    weights, url = tmp_path / "weights", f"{hub.endpoint}/local/dream/resolve/main/sd1.safetensors"
    found = download(url, "mine", weights, lambda *_: None)
    entry = add_entry(top, "mine", found.place, weights, sources=found.sources)
    assert entry.sources == {"mine/sd1.safetensors": [url]}
    with pytest.raises(TransientError, match="404"):
        download(f"{url}x", "other", weights, lambda *_: None)
