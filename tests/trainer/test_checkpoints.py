"""Checkpoints of both layouts compute what diffusers and transformers do; what is none is refused by what it is."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

from benchmarks.checkpoints import compare
from tests.support.sd_checkpoints import reference, tensors, write_checkpoint, write_file
from tests.support.trainer_runs import RecordsMaker, run_trainer
from trainer.base_weights import weight_reader
from trainer.base_weights.base_model import BaseModel
from trainer.base_weights.presets import MERGES, locate, of
from trainer.base_weights.sd_checkpoint import CheckpointError, content_digest, entry_of, open_checkpoint, sha256_of
from trainer.metrics import METRICS_FILE, read_metrics
from trainer.sampling.sampler import Pipeline

PARTS = ("text_encoder", "diffusion_model", "image_encoder", "decoder")
UNET = "model.diffusion_model."


@pytest.mark.parametrize(
    ("kind", "layout", "numbers"), [("sd1", "original", "float32"), ("sd2", "diffusers", "float32")]
)
def test_its_parts_compute_what_diffusers_does(tmp_path: Path, kind: str, layout: str, numbers: str) -> None:
    found = compare(open_checkpoint(write_checkpoint(tmp_path, kind, layout, numbers)), reference(kind))
    assert {part: value for part, value in found.items() if value > 1e-5} == {}


@pytest.mark.parametrize("kind", ["sd1", "sd2"])
def test_both_layouts_hold_the_same(tmp_path: Path, kind: str) -> None:
    folder, file = (open_checkpoint(write_checkpoint(tmp_path / one, kind, one)) for one in ("diffusers", "original"))
    assert (folder.kind, file.kind) == (kind, kind)
    assert folder.shapes == file.shapes
    assert folder.vocabulary == file.vocabulary == 789
    for part in PARTS:
        arrays = zip(*(weight_reader.read_named(*one.names(part)) for one in (folder, file)), strict=True)
        assert all(np.array_equal(one, other) for one, other in arrays), part


def test_what_is_predicted_is_read_where_it_is_said(tmp_path: Path) -> None:
    assert open_checkpoint(write_checkpoint(tmp_path / "one", "sd2", "diffusers")).prediction == "v"
    assert open_checkpoint(write_checkpoint(tmp_path / "two", "sd1", "diffusers")).prediction == "epsilon"
    assert open_checkpoint(write_checkpoint(tmp_path, "sd1", "original")).prediction == "epsilon"
    assert open_checkpoint(write_checkpoint(tmp_path, "sd2", "original")).prediction is None
    told = {"modelspec.prediction_type": "v"}
    path = write_file(tmp_path / "told.safetensors", tensors("sd2", "original")["single"], metadata=told)
    assert open_checkpoint(path).prediction == "v"


@pytest.mark.parametrize("numbers", ["float16", "bfloat16"])
def test_half_precision_is_read_as_it_was_rounded(tmp_path: Path, numbers: str) -> None:
    exact, rounded = (
        open_checkpoint(write_checkpoint(tmp_path / one, "sd1", "original", one)) for one in ("float32", numbers)
    )
    for part in PARTS:
        for one, other in zip(
            weight_reader.read_named(*exact.names(part)), weight_reader.read_named(*rounded.names(part)), strict=True
        ):
            assert other.dtype == np.float32
            np.testing.assert_allclose(one, other, rtol=2**-8, atol=1e-6)


def test_copies_of_the_moving_average_are_not_read(tmp_path: Path) -> None:
    single = tensors("sd1", "original")["single"]
    ema = {f"model_ema.{name.replace('.', '')}": np.zeros_like(one) for name, one in single.items() if UNET in name}
    found = open_checkpoint(write_file(tmp_path / "ema.safetensors", single | ema))
    first = next(iter(weight_reader.read_named(*found.names("diffusion_model"))))
    assert np.abs(first).max() > 0


def test_older_folders_of_diffusers_have_other_names_for_the_vaes_attention(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "sd1", "diffusers")
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    vae = tensors("sd1", "diffusers")["vae"]
    for now, before in older.items():
        vae = {name.replace(f"attentions.0.{now}.", f"attentions.0.{before}."): one for name, one in vae.items()}
    write_file(folder / "vae" / "diffusion_pytorch_model.safetensors", vae)
    assert open_checkpoint(folder).kind == "sd1"


def _inpainting(single: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return single | {f"{UNET}input_blocks.0.0.weight": np.zeros((32, 9, 3, 3), "float32")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_inpainting, "for inpainting; take the one that draws from a prompt alone"),
        (lambda _: {"lora_unet_down_blocks_0.lora_down.weight": np.zeros((4, 4, 1, 1))}, "is a LoRA"),
        (lambda _: {"unet.up.lora_A.weight": np.zeros((4, 4)), "x.lora.up.weight": np.zeros((4, 4))}, "is a LoRA"),
        (lambda _: {"conditioner.embedders.1.model.ln_final.bias": np.zeros(4)}, "is Stable Diffusion XL"),
        (lambda _: {"double_blocks.0.img_attn.norm.key_norm.scale": np.zeros(4)}, "is Flux"),
        (lambda _: {"model.diffusion_model.joint_blocks.0.x": np.zeros((1, 1, 1))}, "is Stable Diffusion 3"),
        (lambda _: {"control_model.input_blocks.0.0.weight": np.zeros((1, 1, 1))}, "is a ControlNet"),
        (lambda _: {"emb_params": np.zeros((2, 768))}, "is an embedding, which `conceptry import` takes"),
        (lambda _: {"<cat>": np.zeros((2, 768))}, "is an embedding, which `conceptry import` takes"),
        (lambda _: {"decoder.up.0.block.0.conv1.weight": np.zeros((8, 8, 3, 3))}, "is a VAE alone"),
        (lambda one: {name: x for name, x in one.items() if "first_stage" not in name}, "a checkpoint without its VAE"),
        (lambda one: {name: x for name, x in one.items() if "final_layer_norm" not in name}, "final_layer_norm.weight"),
        (lambda _: {"encoder.mid_layer.weight": np.zeros((8, 8, 3, 3))}, "no Stable Diffusion checkpoint"),
    ],
)  # fmt: skip
def test_another_model_is_refused_by_what_it_is(
    tmp_path: Path, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], words: str
) -> None:
    path = write_file(tmp_path / "other.safetensors", change(tensors("sd1", "original")["single"]))
    with pytest.raises(CheckpointError, match="other") as caught:
        open_checkpoint(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no .safetensors file"),
        (b"GGUF\x03" + bytes(600), "is a quantized GGUF file"),
        (b"<!DOCTYPE html><html>Sign in" + bytes(600), "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "`git lfs pull` gets the file"),
        (pickle.dumps({"state_dict": {}}, protocol=2), "is a pickled checkpoint"),
        (b"\x10" + bytes(7) + b'{"a": ' + b"x" * 20, "is no .safetensors file"),
    ],
)
def test_another_format_is_refused_by_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert words in str(caught.value)


def test_a_pickled_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"")
    with pytest.raises(CheckpointError, match="runs code when it is loaded"):
        open_checkpoint(path)


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "sd1", "original")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size // 2)
    with pytest.raises(CheckpointError, match=f"is cut off: it has {size // 2} of its {size} bytes"):
        open_checkpoint(path)


def test_a_folder_of_another_pipeline_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "sd1", "diffusers")
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    with pytest.raises(CheckpointError, match="is for StableDiffusionXLPipeline"):
        open_checkpoint(folder)
    (folder / "model_index.json").unlink()
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.bin"))
    with pytest.raises(CheckpointError, match="unet has pickled weights"):
        open_checkpoint(folder)


def test_a_token_is_trained_on_it(tmp_path: Path, make_records: RecordsMaker) -> None:
    """With vectors as wide as those of Stable Diffusion 2, though the model is small."""
    weights = tmp_path / "weights"
    entry = entry_of(open_checkpoint(write_checkpoint(weights / "mine", "sd2", "diffusers", width=1024)), weights)
    assert (entry["kind"], entry["prediction"]) == ("sd2", "v")
    merges = locate("tiny")["merges.txt.gz"]
    (weights / MERGES.place).write_bytes(merges.read_bytes())
    entry["files"][MERGES.place] = sha256_of(merges)
    config = {
        "placeholder_token": "<teal-crescent>", "initializer_token": "crescent", "base_model": "mine", "base": entry,
        "resolution": 64, "samples": 2, "training": {"max_steps": 3, "batch_size": 2, "sample_every": 0},
    }  # fmt: skip
    records = make_records(tmp_path / "records", ("teal", "crescent"), 3)
    done = run_trainer(records, config, tmp_path / "output", weights)
    assert done.returncode == 0, done.stderr
    metrics = read_metrics(tmp_path / "output" / METRICS_FILE)
    assert (metrics.base_model, metrics.steps) == ("mine", 3)
    rows = load_file(tmp_path / "output" / "learned_embeds.safetensors")["<teal-crescent>"]
    assert (rows.shape, rows.dtype) == ((1, 1024), np.float32)
    saved = tf.saved_model.load(str(tmp_path / "output" / "text_encoder"))
    tokens = BaseModel(of("mine", entry), weights).tokenizer("<teal-crescent>").rows(["a <teal-crescent>!"])
    assert saved.encode(tokens, np.arange(77, dtype="int32")[None]).shape == (1, 77, 1024)
    preset, encoder = of("mine", entry), str(tmp_path / "output" / "text_encoder")
    pipeline = Pipeline.load(preset, str(weights), encoder, ["<teal-crescent>"], resolution=64)
    drawn = pipeline.draw("a photo of <teal-crescent>", steps=2)
    assert drawn.shape == (1, 64, 64, 3)


def test_a_checkpoint_that_changed_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "sd1", "original")
    entry = entry_of(open_checkpoint(path), tmp_path)
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    (tmp_path / MERGES.place).write_bytes(locate("tiny")["merges.txt.gz"].read_bytes())
    with pytest.raises(ValueError, match="remove and fetch it again"):
        BaseModel(of("mine", entry), tmp_path)


def test_the_content_counts_and_neither_name_nor_layout(tmp_path: Path) -> None:
    one, other = (open_checkpoint(write_checkpoint(tmp_path / part, "sd2", part)) for part in ("diffusers", "original"))
    assert content_digest(one) == content_digest(other)
    single = tensors("sd2", "original")["single"]
    drawn = single | {"first_stage_model.decoder.conv_in.bias": np.zeros(64, "float32")}
    assert content_digest(open_checkpoint(write_file(tmp_path / "b.safetensors", drawn))) == content_digest(other)
    trained = single | {"first_stage_model.encoder.conv_in.bias": np.zeros(32, "float32")}
    assert content_digest(open_checkpoint(write_file(tmp_path / "a.safetensors", trained))) != content_digest(other)


def test_what_is_predicted_must_be_said(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path, "sd2", "original"))
    with pytest.raises(CheckpointError, match="does not say what its UNet predicts"):
        entry_of(checkpoint, tmp_path)
    assert entry_of(checkpoint, tmp_path, "v")["prediction"] == "v"
    with pytest.raises(CheckpointError, match="predicts epsilon, and not v"):
        entry_of(open_checkpoint(write_checkpoint(tmp_path, "sd1", "original")), tmp_path, "v")
