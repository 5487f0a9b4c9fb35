"""Stable Diffusion checkpoints as people have them: one .safetensors file, or a folder of diffusers.

A checkpoint's kind and sizes are read from its tensors' names and shapes, and from the config.json files of a folder.
Nothing is loaded here, and no TensorFlow imported: gigabytes are looked over in milliseconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.base_weights import tensor_names
from trainer.base_weights.safetensors_file import SafetensorsFile
from trainer.base_weights.tensor_names import DIFFUSERS, ORIGINAL, Name
from trainer.models.shapes import (
    LATENT_SCALE,
    Shapes,
    TextEncoderShape,
    sd_decoder,
    sd_image_encoder,
    sd_unet,
)

TRAINED_ON = ("text_encoder", "diffusion_model", "image_encoder")
"""Parts that a training reads; the decoder only makes pictures of what was drawn."""
PARTS = {"text_encoder": "text_encoder", "unet": "diffusion_model", "vae": "image_encoder"}
"""Folders of diffusers, and the part whose weights each holds first."""
_WEIGHTS = {
    "text_encoder": ("model.safetensors", "model.fp16.safetensors"),
    "unet": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"),
    "vae": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"),
}
_CONFIGS = (
    "model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
    "scheduler/scheduler_config.json", "tokenizer/special_tokens_map.json",
)  # fmt: skip
_PICKLED = ("pytorch_model.bin", "diffusion_pytorch_model.bin")
_LENGTH = 77
_OPEN_CLIP_PADDING = 0
_LEVELS = range(4)
_CONVERT = "`conceptry base convert` writes it as .safetensors without running any"


Array = npt.NDArray[Any]


class CheckpointError(ValueError):
    """A file or folder is no checkpoint that can be trained on; the message says what it is."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    `kind` is "sd1" or "sd2", by the width of the prompt's vectors: 768 or 1024 in the published ones. `prediction` is
    what its UNet predicts, "epsilon" or "v"; None where the file does not say. `files` are its .safetensors files by
    folder of diffusers, of a single file all the same.
    """

    path: Path
    kind: str
    layout: str
    shapes: Shapes
    prediction: str | None
    files: Mapping[str, SafetensorsFile]
    open_clip: bool = False

    @property
    def vocabulary(self) -> int:
        """Tokens in the text encoder's table."""
        file, names = self.names("text_encoder")
        table = next(iter(names))
        return next(shape[0] for one in (table.text, *table.older) if (shape := file.shape(one)))

    def names(self, part: str) -> tuple[SafetensorsFile, Iterable[Name]]:
        """Return the file that holds a part, and its tensors' names in the order of `trainer.models`."""
        shapes = self.shapes
        named: dict[str, tuple[str, Callable[[], Iterable[Name]]]] = {
            "text_encoder": (
                "text_encoder",
                lambda: tensor_names.text_encoder(shapes.text_encoder, self.layout, open_clip=self.open_clip),
            ),
            "diffusion_model": ("unet", lambda: tensor_names.unet(shapes.unet, self.layout)),
            "image_encoder": ("vae", lambda: tensor_names.image_encoder(shapes.image_encoder, self.layout)),
            "decoder": ("vae", lambda: tensor_names.decoder(shapes.decoder, self.layout)),
        }
        folder, make = named[part]
        return self.files[folder], make()


def open_checkpoint(path: Path) -> Checkpoint:
    """Look over a checkpoint.

    Args:
        path: A .safetensors file, or a folder of diffusers with `unet`, `vae` and `text_encoder`.

    Raises:
        CheckpointError: It is something else, or is damaged; the message says what it is and what to do.
        OSError: It cannot be read.
    """
    if path.is_dir():
        return _open_folder(path)
    try:
        file = SafetensorsFile(path)
    except ValueError as error:
        raise CheckpointError(_other_format(path) or str(error)) from error
    if other := _other_model(file):
        raise CheckpointError(f"{path} is {other}; Stable Diffusion 1.x and 2.x can be trained on")
    return _open_single(file)


def pieces(file: SafetensorsFile, names: Iterable[Name]) -> Iterator[tuple[Name, Array]]:
    """Map tensors by their names, as the file keeps them. Raises ValueError where one is missing."""
    for name in names:
        found = name.among(file.entries)
        if found is None:
            raise CheckpointError(f"{file.path} lacks {name.text}")
        yield name, name.piece(file.tensor(found))


def content_digest(checkpoint: Checkpoint) -> str:
    """Hash what a training reads into one sha256, 64 hex digits: gigabytes are read.

    The same weights have the same digest in both layouts, and under any name.
    """
    digest = hashlib.sha256(repr(checkpoint.shapes).encode())
    for part in TRAINED_ON:
        for _, piece in pieces(*checkpoint.names(part)):
            digest.update(f"{part} {piece.dtype.name} {piece.size}\n".encode())
            digest.update(np.ascontiguousarray(piece).reshape(-1).view("u1").data)
    return digest.hexdigest()


def entry_of(checkpoint: Checkpoint, folder: Path, prediction: str | None = None) -> dict[str, Any]:
    """Describe a checkpoint as `presets.of` reads it; all its files are read and hashed.

    Args:
        checkpoint: Below `folder`.
        folder: Folder of weights.
        prediction: What its UNet predicts, "epsilon" or "v", where the file does not say.

    Raises:
        CheckpointError: Neither the file nor the argument says what is predicted, or they differ.
    """
    if checkpoint.prediction and prediction and checkpoint.prediction != prediction:
        raise CheckpointError(f"{checkpoint.path} predicts {checkpoint.prediction}, and not {prediction}")
    predicted = checkpoint.prediction or prediction
    if predicted is None:
        raise CheckpointError(
            f"{checkpoint.path} does not say what its UNet predicts: v in Stable Diffusion 2.x of 768 pixels, epsilon "
            "in 2.x-base of 512 pixels; say which"
        )
    return {
        "kind": checkpoint.kind,
        "prediction": predicted,
        "checkpoint": checkpoint.path.relative_to(folder).as_posix(),
        "content": content_digest(checkpoint),
        "files": {path.relative_to(folder).as_posix(): sha256_of(path) for path in files_of(checkpoint)},
    }


def files_of(checkpoint: Checkpoint) -> list[Path]:
    """List the files that are read of a checkpoint."""
    if checkpoint.layout != DIFFUSERS:
        return [checkpoint.path]
    weights = {file.path for file in checkpoint.files.values()}
    configs = (checkpoint.path / name for name in _CONFIGS)
    return sorted(weights | {path for path in configs if path.is_file()})


def wanted_files(names: Iterable[str]) -> list[str]:
    """Choose what is read of a folder of diffusers, by the paths of its files; nothing where a part is missing."""
    there = set(names)
    weights = [next((f"{folder}/{name}" for name in known if f"{folder}/{name}" in there), None)
               for folder, known in _WEIGHTS.items()]  # fmt: skip
    found = [path for path in weights if path is not None]
    return [*found, *(name for name in _CONFIGS if name in there)] if len(found) == len(_WEIGHTS) else []


def sha256_of(path: Path) -> str:
    """Hash a file, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _open_single(file: SafetensorsFile) -> Checkpoint:
    open_clip = any(name.startswith(tensor_names.OPEN_CLIP) for name in file.entries)
    at = tensor_names.UNET
    widths = [_size(file, f"{at}input_blocks.{1 + 3 * level}.0.out_layers.3.weight") for level in _LEVELS]
    text = _open_clip_shape(file) if open_clip else _clip_shape(file, tensor_names.CLIP, {})
    linear = len(_shape(file, f"{at}input_blocks.1.1.proj_in.weight")) == 2
    context = _size(file, f"{at}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", 1)
    vae = [_size(file, f"{tensor_names.VAE}encoder.down.{level}.block.0.conv1.weight") for level in _LEVELS]
    shapes = Shapes(
        text,
        sd_unet(context, 0 if linear else 8, widths=widths),
        sd_image_encoder(vae),
        sd_decoder(vae),
        _OPEN_CLIP_PADDING if open_clip else None,
    )
    _check_inputs(file.path, _size(file, f"{at}input_blocks.0.0.weight", 1))
    files = dict.fromkeys(PARTS, file)
    prediction = _prediction_of_metadata(file.metadata) or (None if linear else "epsilon")
    return _whole(Checkpoint(file.path, _kind(open_clip), ORIGINAL, shapes, prediction, files, open_clip))


def _open_folder(path: Path) -> Checkpoint:
    index = _config(path / "model_index.json") if (path / "model_index.json").is_file() else {}
    pipeline = str(index.get("_class_name", ""))
    if pipeline and not pipeline.startswith("StableDiffusionPipeline"):
        raise CheckpointError(f"{path} is for {pipeline}; Stable Diffusion 1.x and 2.x can be trained on")
    files = {folder: _weights(path / folder, _WEIGHTS[folder]) for folder in PARTS}
    unet, text, vae = (_config(path / folder / "config.json") for folder in ("unet", "text_encoder", "vae"))
    if other := _other_model(files["unet"]):
        raise CheckpointError(f"{path} is {other}; Stable Diffusion 1.x and 2.x can be trained on")
    widths = [_size(files["unet"], f"down_blocks.{level}.resnets.0.conv1.weight") for level in _LEVELS]
    context = _size(files["unet"], "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", 1)
    _check_inputs(path, _size(files["unet"], "conv_in.weight", 1))
    vae_widths = [_size(files["vae"], f"encoder.down_blocks.{level}.resnets.0.conv1.weight") for level in _LEVELS]
    if abs(float(vae.get("scaling_factor", LATENT_SCALE)) - LATENT_SCALE) > 1e-6:
        raise CheckpointError(f"{path}/vae scales latents by {vae['scaling_factor']}, and not by {LATENT_SCALE}")
    start = "text_model." if any(name.startswith("text_model.") for name in files["text_encoder"].entries) else ""
    shape = _clip_shape(files["text_encoder"], start, text)
    tokenizer = path / "tokenizer" / "special_tokens_map.json"
    padding = _padding(tokenizer) if tokenizer.is_file() else None if shape.quick else _OPEN_CLIP_PADDING
    heads = unet.get("num_attention_heads") or unet.get("attention_head_dim") or 8
    shapes = Shapes(
        shape,
        sd_unet(context, *_heads(path, heads, widths), widths=widths),
        sd_image_encoder(vae_widths),
        sd_decoder(vae_widths),
        padding,
    )
    scheduler = path / "scheduler" / "scheduler_config.json"
    told = _config(scheduler).get("prediction_type", "epsilon") if scheduler.is_file() else None
    prediction = {"epsilon": "epsilon", "v_prediction": "v"}.get(str(told))
    if told and not prediction:
        raise CheckpointError(f"{scheduler}: prediction_type {told} is not epsilon or v_prediction")
    return _whole(Checkpoint(path, _kind(not shape.quick), DIFFUSERS, shapes, prediction, files))


def _whole(checkpoint: Checkpoint) -> Checkpoint:
    """Check that every tensor is there that the parts will read."""
    for part in ("text_encoder", "diffusion_model", "image_encoder", "decoder"):
        file, names = checkpoint.names(part)
        for name in names:
            if name.among(file.entries) is None:
                raise CheckpointError(f"{file.path} lacks {name.text}: it is no whole Stable Diffusion checkpoint")
    return checkpoint


def _kind(open_clip: bool) -> str:
    return "sd2" if open_clip else "sd1"


def _clip_shape(file: SafetensorsFile, at: str, config: Mapping[str, Any]) -> TextEncoderShape:
    width = _size(file, f"{at}embeddings.token_embedding.weight", 1)
    length = _size(file, f"{at}embeddings.position_embedding.weight")
    count = _count(file, f"{at}encoder.layers.{{}}.layer_norm1.weight")
    activation = str(config.get("hidden_act", "quick_gelu"))
    if activation not in ("quick_gelu", "gelu"):
        raise CheckpointError(f"{file.path}: the text encoder's activation is {activation}, not quick_gelu or gelu")
    heads = int(config.get("num_attention_heads", width // 64))
    return TextEncoderShape(length, width, count, heads, quick=activation == "quick_gelu")


def _open_clip_shape(file: SafetensorsFile) -> TextEncoderShape:
    width = _size(file, f"{tensor_names.OPEN_CLIP}token_embedding.weight", 1)
    count = _count(file, f"{tensor_names.OPEN_CLIP}transformer.resblocks.{{}}.ln_1.weight")
    # Stable Diffusion 2 takes what the last layer but one gives.
    return TextEncoderShape(_LENGTH, width, count - 1, width // 64, quick=False)


def _heads(path: Path, told: Any, widths: Iterable[int]) -> tuple[int, int]:
    """Return the number of heads, and their width where that is what stays the same over the resolutions.

    What diffusers calls attention_head_dim is the number of heads, one for all resolutions or one for each.
    """
    if isinstance(told, int):
        return told, 64
    found = {width // int(count) for width, count in zip(widths, told, strict=False)}
    if len(found) != 1:
        raise CheckpointError(f"{path}/unet/config.json: heads {told} are of different widths")
    return 0, found.pop()


def _padding(path: Path) -> int | None:
    """Read what token prompts are padded with; None for the end token."""
    token = _config(path).get("pad_token")
    text = token.get("content") if isinstance(token, dict) else token
    return _OPEN_CLIP_PADDING if text == "!" else None


def _prediction_of_metadata(metadata: Mapping[str, str]) -> str | None:
    """Read what is predicted from ModelSpec's key; see https://github.com/Stability-AI/ModelSpec."""
    return {"epsilon": "epsilon", "v": "v"}.get(metadata.get("modelspec.prediction_type", ""))


def _check_inputs(path: Path, channels: int) -> None:
    others = {9: "for inpainting", 8: "for editing pictures by instructions", 5: "for depth maps", 7: "for upscaling"}
    if channels != 4:
        what = others.get(channels, f"with {channels} input channels")
        raise CheckpointError(f"{path} is a Stable Diffusion {what}; take the one that draws from a prompt alone")


def _other_format(path: Path) -> str | None:
    """Say what a file is that is no .safetensors file; None where it is not known."""
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04")):
        return f"{path} is a pickled checkpoint, which runs code when it is loaded by torch: {_CONVERT}"
    if start.startswith(b"GGUF"):
        return f"{path} is a quantized GGUF file; take the .safetensors file that it was made of"
    if start.startswith(b"version https://git-lfs"):
        return f"{path} is a pointer of Git LFS: `git lfs pull` gets the file"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return f"{path} is a web page: the site asks for a sign-in, or for an agreement, before it gives the file"
    return None


def _other_model(file: SafetensorsFile) -> str | None:
    """Say what a .safetensors file is if it is no whole Stable Diffusion 1.x or 2.x; None if it may be one."""
    names = file.entries
    kinds: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("a LoRA", lambda name: "lora_" in name or ".lora." in name or "hada_w" in name or "lokr_w" in name),
        ("a ControlNet", lambda name: name.startswith(("control_model.", "controlnet_", "input_hint_block."))),
        ("Stable Diffusion XL", lambda name: name.startswith(("conditioner.embedders.", "add_embedding."))),
        ("Stable Diffusion 3", lambda name: "joint_blocks." in name),
        ("Flux", lambda name: "double_blocks." in name or name.startswith("single_transformer_blocks.")),
        ("an embedding, which `conceptry import` takes", lambda name: name in ("emb_params", "string_to_param")),
    )
    for words, fits in kinds:
        if any(fits(name) for name in names):
            return words
    if names.keys() and all(len(entry.shape) <= 2 for entry in names.values()) and len(names) <= 4:
        return "an embedding, which `conceptry import` takes"
    if file.path.parent.name in PARTS:
        return None
    parts = {
        "UNet": tensor_names.UNET, "VAE": tensor_names.VAE, "text encoder": "cond_stage_model.",
    }  # fmt: skip
    missing = [part for part, start in parts.items() if not any(name.startswith(start) for name in names)]
    if len(missing) == len(parts):
        bare_vae = any(name.startswith("decoder.up") for name in names)
        return "a VAE alone" if bare_vae else "no Stable Diffusion checkpoint that is known here"
    return f"a checkpoint without its {' and '.join(missing)}" if missing else None


def _weights(folder: Path, wanted: tuple[str, ...]) -> SafetensorsFile:
    found = next((folder / name for name in wanted if (folder / name).is_file()), None)
    if found is None:
        if any((folder / name).is_file() for name in _PICKLED):
            raise CheckpointError(f"{folder} has pickled weights, which run code when torch loads them: {_CONVERT}")
        raise CheckpointError(f"{folder} has no {wanted[0]}: it is no whole folder of diffusers")
    try:
        return SafetensorsFile(found)
    except ValueError as error:
        raise CheckpointError(_other_format(found) or str(error)) from error


def _config(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} must hold one JSON object")
    return document


def _shape(file: SafetensorsFile, name: str) -> tuple[int, ...]:
    shape = file.shape(name)
    if shape is None:
        raise CheckpointError(f"{file.path} lacks {name}: it is no whole Stable Diffusion checkpoint")
    return shape


def _size(file: SafetensorsFile, name: str, axis: int = 0) -> int:
    shape = _shape(file, name)
    if len(shape) <= axis:
        raise CheckpointError(f"{file.path}: {name} has shape {shape}")
    return shape[axis]


def _count(file: SafetensorsFile, pattern: str) -> int:
    count = 0
    while pattern.format(count) in file.entries:
        count += 1
    return count
