"""CLIP (Radford et al. 2021): pictures and texts to vectors whose cosine says how well they go together.

The weights are a folder as transformers saves a CLIPModel: `config.json` with the sizes, and `model.safetensors`. Both
towers compute what transformers' CLIPModel and CLIPImageProcessor do (tests/trainer/test_clip.py; at full size,
benchmarks/interchange.py), in float32. A tower is read when it is used, and freed after.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image
from safetensors import SafetensorError, safe_open

from trainer.base_weights import weight_reader
from trainer.models import layers
from trainer.models.layers import Affine, ReadWeight
from trainer.models.shapes import EPSILON, TextEncoderShape
from trainer.models.text_encoder import EncoderBlock, TextEncoder

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MEAN = np.asarray((0.48145466, 0.4578275, 0.40821073), "float32")
DEVIATION = np.asarray((0.26862954, 0.26130258, 0.27577711), "float32")
_AT_ONCE = 4
_READ_AT_ONCE = 16
# What transformers leaves out of a config.json, because it is the default.
_BOTH = {"hidden_act": "quick_gelu", "layer_norm_eps": EPSILON, "num_hidden_layers": 12}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "text_config": _BOTH
    | {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}
    | {"vocab_size": 49408, "max_position_embeddings": 77},
    "vision_config": _BOTH
    | {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    | {"image_size": 224, "patch_size": 32, "num_channels": 3},
}
Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Tensors = Iterator[tuple[str, tuple[int, ...]]]
"""The tensors of a tower by name, with their shapes in the file, in the order in which the tower takes them."""


@dataclass(frozen=True)
class VisionShape:
    """Sizes of the tower for pictures; `side` and `patch` in pixels."""

    side: int
    patch: int
    width: int
    layers: int
    heads: int


@dataclass(frozen=True)
class Shape:
    """Sizes of a CLIP model; the vectors of both towers are `projection` wide."""

    text: TextEncoderShape
    vision: VisionShape
    vocabulary: int
    projection: int


class Clip:
    """A CLIP model on disk. Its files are looked over at once, its weights are read when they are needed.

    Args:
        folder: With config.json and model.safetensors.

    Raises:
        ValueError: One of them is missing or damaged, or of another architecture; the message names what is wrong.
    """

    def __init__(self, folder: Path) -> None:
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise ValueError(f"{folder} has no {name}: a CLIP model is {CONFIG} and {WEIGHTS}; add or remove both")
        self.shape = read_shape(folder / CONFIG)
        self.weights = folder / WEIGHTS
        self._check(dict((*_vision_tensors(self.shape), *_text_tensors(self.shape))))

    def images(self, pictures: Sequence[Pixels]) -> Array:
        """Encode pictures, each uint8 (H, W, 3) of any size, to vectors of length one, float32 (N, projection)."""
        read = self._reader(_vision_tensors(self.shape))
        tower = _VisionTower(self.shape.vision, read)
        kernel = read((self.shape.vision.width, self.shape.projection))
        found = []
        for start in range(0, len(pictures), _AT_ONCE):
            batch = [prepare(pixels, self.shape.vision.side) for pixels in pictures[start : start + _AT_ONCE]]
            found.append(_unit(layers.dense(tower(tf.constant(np.stack(batch))), kernel)))
        return np.concatenate(found)

    def texts(self, tokens: npt.NDArray[np.int32]) -> Array:
        """Encode rows of token ids, (N, L) int32 with the end token, to vectors of length one, (N, projection)."""
        read = self._reader(_text_tensors(self.shape))
        tower = TextEncoder(self.shape.text, self.shape.vocabulary, read)
        kernel = read((self.shape.text.width, self.shape.projection))
        encoded = tower.encode_with_placeholders(tf.constant(tokens), tf.zeros((1, self.shape.text.width)))
        # The end token has the highest id; rows are padded with more of them, the text ends at the first.
        return _unit(layers.dense(tf.gather(encoded, tokens.argmax(axis=1), batch_dims=1), kernel))

    def _reader(self, tensors: Tensors) -> weight_reader.WeightReader:
        return weight_reader.WeightReader(self._read(tensors), "float32", str(self.weights))

    def _read(self, tensors: Tensors) -> Iterator[npt.NDArray[Any]]:
        names = [name for name, _ in tensors]
        # The file is mapped, and what was read of it counts as memory until it is closed.
        for start in range(0, len(names), _READ_AT_ONCE):
            with safe_open(str(self.weights), framework="np") as file:
                for name in names[start : start + _READ_AT_ONCE]:
                    yield _as_ours(name, file.get_tensor(name))

    def _check(self, wanted: Mapping[str, tuple[int, ...]]) -> None:
        """Compare the file's table of contents with what the towers will read, before anything is trained."""
        try:
            with safe_open(str(self.weights), framework="np") as file:
                there = {name: file.get_slice(name) for name in wanted.keys() & set(file.keys())}
                found = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in there.items()}
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{self.weights} cannot be read: {error}") from error
        for name, shape in wanted.items():
            if name not in found:
                raise ValueError(f"{self.weights} lacks {name}; a CLIP model of the sizes in {CONFIG} has it")
            if found[name][0] != shape or found[name][1] not in ("F16", "F32"):
                raise ValueError(f"{self.weights}: {name} is {found[name][1]} {found[name][0]}, not F32 or F16 {shape}")


def read_shape(path: Path) -> Shape:
    """Read the sizes of a CLIP model from its config.json. Raises ValueError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        text, vision = (_section(document, name) for name in _DEFAULTS)
        shape = Shape(
            TextEncoderShape(text["max_position_embeddings"], *_sizes(text)),
            VisionShape(vision["image_size"], vision["patch_size"], *_sizes(vision)),
            text["vocab_size"],
            document.get("projection_dim", 512),
        )
        if shape.vision.side % shape.vision.patch or vision["num_channels"] != 3:
            raise ValueError("pictures must be RGB, and patches must fill them")
    except (OSError, ValueError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise ValueError(f"{path} does not describe a CLIP model that is known here: {error}") from error
    return shape


def _section(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    # The second is what older files say the same in, and what counts when they differ.
    given = (document.get(name) or {}) | (document.get(f"{name}_dict") or {})
    section = _DEFAULTS[name] | given
    if section["hidden_act"] != "quick_gelu" or section["layer_norm_eps"] != EPSILON:
        raise ValueError(f"{name}: hidden_act must be quick_gelu, and layer_norm_eps {EPSILON}")
    return section


def _sizes(section: Mapping[str, Any]) -> tuple[int, int, int]:
    """Check and return a tower's width, layers and heads."""
    width, heads = section["hidden_size"], section["num_attention_heads"]
    if section["intermediate_size"] != 4 * width or width % heads:
        raise ValueError("intermediate_size must be four times hidden_size, which the heads must share evenly")
    return width, section["num_hidden_layers"], heads


class _VisionTower:
    """A picture's patches, and a class token before them, through a transformer (Dosovitskiy et al. 2021)."""

    def __init__(self, shape: VisionShape, read: ReadWeight) -> None:
        self.shape = shape
        self.token = read((shape.width,))
        self.kernel = read((shape.patch * shape.patch * 3, shape.width))
        self.positions = read((1 + (shape.side // shape.patch) ** 2, shape.width))
        self.before = Affine(read, shape.width)
        self.blocks = [EncoderBlock(read, shape.width, shape.heads) for _ in range(shape.layers)]
        self.after = Affine(read, shape.width)

    def __call__(self, pictures: Any) -> Any:
        """Encode prepared pictures, (B, side, side, 3) float32, to their class tokens' outputs, (B, width)."""
        size, across = self.shape.patch, self.shape.side // self.shape.patch
        patches = tf.reshape(pictures, (-1, across, size, across, size, 3))
        patches = tf.reshape(tf.transpose(patches, (0, 1, 3, 2, 4, 5)), (-1, across * across, size * size * 3))
        tokens = tf.tile(self.token[None, None], (patches.shape[0], 1, 1))
        x = tf.concat([tokens, layers.dense(patches, self.kernel)], axis=1) + self.positions
        x = layers.layer_norm(x, *self.before)
        for block in self.blocks:
            x = block(x, None)
        return layers.layer_norm(x[:, 0], *self.after)


def prepare(pixels: Pixels, side: int) -> Array:
    """Resize and crop a picture as CLIPImageProcessor does: float32 (side, side, 3), normalized."""
    height, width, _ = pixels.shape
    short = min(height, width)
    size = (int(side * width / short), int(side * height / short))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    left, top = ((extent - side) // 2 for extent in size)
    square = small[top : top + side, left : left + side].astype("float32") / 255.0
    return np.asarray((square - MEAN) / DEVIATION, "float32")


def _unit(vectors: Any) -> Array:
    return np.asarray(tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1, epsilon=0.0))


def _as_ours(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Transpose a tensor as our layers keep it: torch's kernels are (O, I), or (O, 3, H, W) for patches."""
    array = array.astype("float32", copy=False)
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0).reshape(-1, len(array))
    return array.T if array.ndim == 2 and not name.endswith("embedding.weight") else array


def _vision_tensors(shape: Shape) -> Tensors:
    vision, at = shape.vision, "vision_model"
    yield f"{at}.embeddings.class_embedding", (vision.width,)
    yield f"{at}.embeddings.patch_embedding.weight", (vision.width, 3, vision.patch, vision.patch)
    yield f"{at}.embeddings.position_embedding.weight", (1 + (vision.side // vision.patch) ** 2, vision.width)
    yield from _affine(f"{at}.pre_layrnorm", vision.width)
    yield from _blocks(at, vision.layers, vision.width)
    yield from _affine(f"{at}.post_layernorm", vision.width)
    yield "visual_projection.weight", (shape.projection, vision.width)


def _text_tensors(shape: Shape) -> Tensors:
    text, at = shape.text, "text_model"
    yield f"{at}.embeddings.token_embedding.weight", (shape.vocabulary, text.width)
    yield f"{at}.embeddings.position_embedding.weight", (text.length, text.width)
    yield from _blocks(at, text.layers, text.width)
    yield from _affine(f"{at}.final_layer_norm", text.width)
    yield "text_projection.weight", (shape.projection, text.width)


def _blocks(at: str, count: int, width: int) -> Tensors:
    for block in (f"{at}.encoder.layers.{index}" for index in range(count)):
        yield from _affine(f"{block}.layer_norm1", width)
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _affine(f"{block}.self_attn.{part}", width, width)
        yield from _affine(f"{block}.layer_norm2", width)
        yield from _affine(f"{block}.mlp.fc1", 4 * width, width)
        yield from _affine(f"{block}.mlp.fc2", width, 4 * width)


def _affine(name: str, *shape: int) -> Tensors:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]
