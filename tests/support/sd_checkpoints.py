"""Small checkpoints of random weights as diffusers saves them, from what `benchmarks.checkpoints --record` wrote."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from benchmarks.peers.random_weights import values

RECORDED = Path(__file__).parents[1] / "trainer" / "checkpoints"
_TYPES: dict[str, tuple[str, Any]] = {
    "float32": ("F32", "<f4"), "float16": ("F16", "<f2"), "bfloat16": ("BF16", ml_dtypes.bfloat16),
}  # fmt: skip
Tensors = dict[str, npt.NDArray[Any]]


@cache
def recorded(kind: str) -> dict[str, Any]:
    """Return the names and shapes of all tensors, and the configurations."""
    found: dict[str, Any] = json.loads(gzip.decompress((RECORDED / kind / "names.json.gz").read_bytes()))
    return found


def reference(kind: str) -> Tensors:
    """Return inputs, and what diffusers and transformers made of them."""
    return dict(load_file(RECORDED / kind / "reference.safetensors"))


def tensors(kind: str, layout: str, width: int = 128) -> dict[str, Tensors]:
    """Return all tensors by file: "single", or the folders of diffusers; the prompt's vectors are `width` wide."""
    document = recorded(kind)
    theirs = {
        folder: {
            name: values(name.removeprefix("text_model."), _widened(folder, name, shape, width))
            for name, shape in shapes.items()
        }
        for folder, shapes in document["shapes"].items()
    }
    if layout == "diffusers":
        return theirs
    single = {
        name: np.concatenate([theirs[folder][one] for one in parts])
        for folder, names in document["names"].items()
        for name, parts in names.items()
    }
    if kind == "sd2":
        # OpenCLIP's encoder has a layer more than is used.
        last, unused = ".resblocks.2.", ".resblocks.3."
        single |= {name.replace(last, unused): one for name, one in single.items() if last in name}
    return {"single": single}


def _widened(folder: str, name: str, shape: list[int], width: int) -> tuple[int, ...]:
    """Return the shape that a tensor has where the prompt's vectors are `width` wide, and not 128."""
    if folder == "text_encoder":
        return tuple(side * width // 128 if side in (128, 512) else side for side in shape)
    if folder == "unet" and name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
        return (shape[0], width)
    return tuple(shape)


def write_checkpoint(folder: Path, kind: str, layout: str, numbers: str = "float32", width: int = 128) -> Path:
    """Write a checkpoint whose prompts' vectors are `width` wide; returns its file, or its folder."""
    files = tensors(kind, layout, width)
    if layout == "original":
        return write_file(folder / f"{kind}.safetensors", files["single"], numbers)
    for path, config in recorded(kind)["configs"].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if path.startswith("text_encoder/"):
            heads = {"num_attention_heads": width // 64}
            config = config | heads | {"hidden_size": width, "intermediate_size": 4 * width}
        (folder / path).write_text(json.dumps(config))
    for name, found in files.items():
        file = "model.safetensors" if name == "text_encoder" else "diffusion_pytorch_model.safetensors"
        write_file(folder / name / file, found, numbers)
    return folder


def write_file(path: Path, found: Tensors, numbers: str = "float32", metadata: dict[str, str] | None = None) -> Path:
    """Write a .safetensors file in any number format; the library writes no bfloat16 of NumPy."""
    kind, dtype = _TYPES[numbers]
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    pieces, at = [], 0
    for name, array in found.items():
        piece = np.ascontiguousarray(array).astype(dtype).tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + len(piece)]}
        pieces.append(piece)
        at += len(piece)
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(pieces))
    return path
