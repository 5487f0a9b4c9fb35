"""What a file is that holds no learned vectors, by the names of its tensors or by its first bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable

HEAD = 1 << 20
"""Bytes of a file from which `kind_of_start` tells what it is."""
_BY_TENSOR = (
    (("lora_", "lora.", ".lora_A", ".lora_B", "lora_unet", "lora_te"), "a LoRA, which changes the weights of a model"),
    (("hada_w1", "lokr_", "oft_"), "a LyCORIS file, which changes the weights of a model"),
    (("control_model.", "controlnet_", "input_hint_block"), "a ControlNet"),
    (("linear1.0.weight", "model.linear1"), "a hypernetwork"),
    (("conditioner.embedders.1.",), "a checkpoint of Stable Diffusion XL"),
    (("model.diffusion_model.", "cond_stage_model."), "a checkpoint of Stable Diffusion"),
    (("double_blocks.", "single_transformer_blocks."), "weights of Flux"),
    (("down_blocks.", "up_blocks.", "conv_in."), "weights of a UNet or VAE of diffusers"),
    (("first_stage_model.", "encoder.down.", "decoder.up.", "quant_conv"), "a VAE"),
    (("text_model.encoder.", "transformer.text_model"), "weights of a text encoder"),
)
_BY_START = (
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"RIFF", "a picture"),
    (b"<", "a web page or XML; it may be an error page that was saved in place of the file"),
    (b"version https://git-lfs", "a Git LFS pointer: run `git lfs pull` where it comes from"),
    (b"{", "JSON"),
    (b"\x1f\x8b", "compressed with gzip: unpack it"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it"),
    (b"Rar!", "a RAR archive: unpack it"),
    (b"GGUF", "a GGUF model"),
)


def kind_of_tensors(names: Iterable[str]) -> str | None:
    """Return what a file with these tensors is, in words; None if it may be learned vectors."""
    found = list(names)
    if {"clip_g", "clip_l"} & set(found):
        return "an embedding for Stable Diffusion XL (clip_l and clip_g), which has two text encoders"
    return next((words for marks, words in _BY_TENSOR if any(mark in name for name in found for mark in marks)), None)


def kind_of_start(start: bytes) -> str | None:
    """Return what a file is by its first bytes, in words; None if they do not say."""
    if not start:
        return "empty"
    named = _tensors_of_header(start)
    if named is not None:
        return kind_of_tensors(named)
    if start.lstrip()[:1] == b"<":
        return _BY_START[3][1]
    return next((words for mark, words in _BY_START if start.startswith(mark)), None)


def is_safetensors(start: bytes) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON object (8 bytes, little-endian), and a brace."""
    return start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= 100 * 2**20


def _tensors_of_header(start: bytes) -> list[str] | None:
    if not is_safetensors(start):
        return None
    try:
        header = json.loads(start[8 : 8 + int.from_bytes(start[:8], "little")])
    except ValueError:
        return []
    return [name for name in header if name != "__metadata__"] if isinstance(header, dict) else []
