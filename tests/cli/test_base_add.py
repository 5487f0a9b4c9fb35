"""`conceptry base add` brings a checkpoint into the folder of weights and describes it in bases.yaml."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conceptry.bases import load_bases
from conceptry.errors import ConceptryError
from tasks.base_entries import add_entry, presets, read_entries
from tasks.weights_files import missing_files
from tests.support.sd_checkpoints import tensors, write_checkpoint, write_file

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
