"""KerasCV's Stable Diffusion 1.x, and `tiny` built from its layers at small widths: whose weights the trainer reads.

`tiny` was trained with these; the other modules of trainer.models are compared with them, and nothing that trains a
token or draws needs them. Shapes, for an image of H x W pixels, a prompt of L tokens and a text
encoder of width D:

- text encoder: tokens (B, L) int32, positions (B, L) int32 -> context (B, L, D)
- diffusion model: latent (B, H/8, W/8, 4), timestep_embedding (B, 320), context (B, L, D) -> noise (B, H/8, W/8, 4)
- image encoder: image (B, H, W, 3) in [-1, 1] -> (B, H/8, W/8, 8), mean and log variance of the latents, not yet scaled
- decoder: latent (B, H/8, W/8, 4) -> image (B, H, W, 3) in about [-1, 1]
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras_cv.src.models.stable_diffusion.attention_block import AttentionBlock
from keras_cv.src.models.stable_diffusion.decoder import Decoder
from keras_cv.src.models.stable_diffusion.diffusion_model import (
    DiffusionModel,
    ResBlock,
    SpatialTransformer,
    Upsample,
)
from keras_cv.src.models.stable_diffusion.image_encoder import ImageEncoder
from keras_cv.src.models.stable_diffusion.padded_conv2d import PaddedConv2D
from keras_cv.src.models.stable_diffusion.resnet_block import ResnetBlock
from keras_cv.src.models.stable_diffusion.text_encoder import (
    CLIPEmbedding,
    CLIPEncoderLayer,
    TextEncoder,
    quick_gelu,
)
from safetensors.numpy import save_file

from trainer.base_weights import weight_reader
from trainer.models.shapes import LATENT_SCALE, SD_1, TIMESTEP_WIDTH, TINY

_TINY, _FULL_SIZE = TINY.text_encoder, SD_1.text_encoder
Array = npt.NDArray[Any]


def tiny_text_encoder(vocabulary: int) -> keras.Model:
    """Build a CLIP text encoder of 3 layers, 4 heads and width 96."""
    width, length = _TINY.width, _TINY.length
    tokens = keras.layers.Input((length,), dtype="int32", name="tokens")
    positions = keras.layers.Input((length,), dtype="int32", name="positions")
    x = CLIPEmbedding(vocabulary, width, length)([tokens, positions])
    for _ in range(3):
        x = CLIPEncoderLayer(width, 4, activation=quick_gelu)(x)
    x = keras.layers.LayerNormalization(epsilon=1e-5)(x)
    return keras.Model([tokens, positions], x, name="text_encoder")


def tiny_diffusion_model(height: int, width: int) -> keras.Model:
    """Build a denoising UNet of two resolutions, 64 and 96 channels wide."""
    context = keras.layers.Input((_TINY.length, _TINY.width), name="context")
    timestep = keras.layers.Input((TIMESTEP_WIDTH,), name="timestep_embedding")
    latent = keras.layers.Input((height // 8, width // 8, 4), name="latent")
    t = keras.layers.Dense(192)(timestep)
    t = keras.layers.Activation("swish")(t)
    t = keras.layers.Dense(192)(t)

    skips = []
    x = PaddedConv2D(64, 3, padding=1)(latent)
    skips.append(x)
    x = ResBlock(64)([x, t])
    x = SpatialTransformer(4, 16)([x, context])
    skips.append(x)
    x = PaddedConv2D(96, 3, strides=2, padding=1)(x)
    skips.append(x)
    x = ResBlock(96)([x, t])
    x = SpatialTransformer(4, 24)([x, context])
    skips.append(x)

    x = ResBlock(96)([x, t])
    x = SpatialTransformer(4, 24)([x, context])

    for _ in range(2):
        x = keras.layers.Concatenate()([x, skips.pop()])
        x = ResBlock(96)([x, t])
        x = SpatialTransformer(4, 24)([x, context])
    x = Upsample(64)(x)
    for _ in range(2):
        x = keras.layers.Concatenate()([x, skips.pop()])
        x = ResBlock(64)([x, t])
        x = SpatialTransformer(4, 16)([x, context])

    x = keras.layers.GroupNormalization(epsilon=1e-5)(x)
    x = keras.layers.Activation("swish")(x)
    x = PaddedConv2D(4, 3, padding=1)(x)
    return keras.Model([latent, timestep, context], x, name="diffusion_model")


def tiny_image_encoder() -> keras.Model:
    """Build the encoder half of the VAE, 32 to 64 channels wide."""
    return keras.Sequential(
        [
            keras.layers.Input((None, None, 3)),
            PaddedConv2D(32, 3, padding=1),
            PaddedConv2D(32, 3, padding=((0, 1), (0, 1)), strides=2),
            ResnetBlock(32),
            PaddedConv2D(64, 3, padding=((0, 1), (0, 1)), strides=2),
            ResnetBlock(64),
            PaddedConv2D(64, 3, padding=((0, 1), (0, 1)), strides=2),
            ResnetBlock(64),
            AttentionBlock(64),
            ResnetBlock(64),
            keras.layers.GroupNormalization(epsilon=1e-5),
            keras.layers.Activation("swish"),
            PaddedConv2D(8, 3, padding=1),
            PaddedConv2D(8, 1),
        ],
        name="image_encoder",
    )


def tiny_decoder(height: int, width: int) -> keras.Model:
    """Build the decoder half of the VAE, 64 to 32 channels wide."""
    return keras.Sequential(
        [
            keras.layers.Input((height // 8, width // 8, 4)),
            keras.layers.Rescaling(1.0 / LATENT_SCALE),
            PaddedConv2D(4, 1),
            PaddedConv2D(64, 3, padding=1),
            ResnetBlock(64),
            AttentionBlock(64),
            ResnetBlock(64),
            keras.layers.UpSampling2D(2),
            PaddedConv2D(64, 3, padding=1),
            ResnetBlock(64),
            keras.layers.UpSampling2D(2),
            PaddedConv2D(32, 3, padding=1),
            ResnetBlock(32),
            keras.layers.UpSampling2D(2),
            PaddedConv2D(32, 3, padding=1),
            keras.layers.GroupNormalization(epsilon=1e-5),
            keras.layers.Activation("swish"),
            PaddedConv2D(3, 3, padding=1),
        ],
        name="decoder",
    )


def sd_image_encoder() -> keras.Model:
    """Build KerasCV's VAE encoder without its last layer, so that it gives mean and log variance."""
    whole = ImageEncoder(download_weights=False)
    return keras.Sequential([keras.layers.Input((None, None, 3)), *whole.layers[:-1]], name="image_encoder")


def text_encoder(base_model: str, vocabulary: int) -> keras.Model:
    """Build the text encoder of a base model, its weights not loaded yet."""
    if base_model == "tiny":
        return tiny_text_encoder(vocabulary)
    return TextEncoder(_FULL_SIZE.length, vocabulary, name="text_encoder", download_weights=False)


def diffusion_model(base_model: str, height: int, width: int) -> keras.Model:
    """Build the denoising UNet of a base model for images of `height` x `width` pixels, weights not loaded yet."""
    if base_model == "tiny":
        return tiny_diffusion_model(height, width)
    return DiffusionModel(height, width, _FULL_SIZE.length, name="diffusion_model", download_weights=False)


def image_encoder(base_model: str) -> keras.Model:
    """Build the VAE's encoder of a base model, its weights not loaded yet."""
    return tiny_image_encoder() if base_model == "tiny" else sd_image_encoder()


def decoder(base_model: str, height: int, width: int) -> keras.Model:
    """Build the VAE's decoder of a base model, its weights not loaded yet."""
    if base_model == "tiny":
        return tiny_decoder(height, width)
    return Decoder(height, width, name="decoder", download_weights=False)


@contextmanager
def no_initialization() -> Iterator[None]:
    """Build Keras models without drawing weights, which are then set from a file: only memory is set aside.

    Drawing them takes longer than reading them.
    """
    initializers = (keras.initializers.GlorotUniform, keras.initializers.RandomUniform)
    originals = [kind.__dict__.get("__call__") for kind in initializers]

    def empty(_self: Any, shape: Any, dtype: Any = None) -> Any:
        return tf.raw_ops.Empty(shape=list(shape), dtype=dtype or "float32", init=False)

    for kind in initializers:
        kind.__call__ = empty
    try:
        yield
    finally:
        for kind, original in zip(initializers, originals, strict=True):
            if original is None:
                del kind.__call__
            else:
                kind.__call__ = original


def _names(part: str, model: keras.Model) -> list[str]:
    # Keras numbers layers by the order in which a process made them; the order within a model is what stays the same.
    return [f"{part}/{index:04d}/{weight.name}" for index, weight in enumerate(model.weights)]


def save(path: Path, parts: Mapping[str, keras.Model], dtype: str) -> None:
    """Write the weights of all parts, cast to `dtype` ("float16" or "float32")."""
    tensors = {
        name: np.ascontiguousarray(np.asarray(weight).astype(dtype))
        for part, model in parts.items()
        for name, weight in zip(_names(part, model), model.weights, strict=True)
    }
    save_file(tensors, str(path))


def load(path: Path, parts: Mapping[str, keras.Model]) -> None:
    """Set the weights of the given Keras models as float32; the file may hold more parts. Raises ValueError."""
    for part, model in parts.items():
        assign(model, weight_reader.read(path, part), f"{path}: {part}")


def assign(model: keras.Model, arrays: Iterator[Array], where: str) -> None:
    """Set the weights of a Keras model as float32.

    Raises:
        ValueError: The file does not fit the model: another architecture, or a damaged file.
    """
    found, shapes = list(arrays), [tuple(weight.shape) for weight in model.weights]
    if [array.shape for array in found] != shapes:
        raise ValueError(f"{where}: the {len(found)} weights are not the {len(shapes)} of this architecture")
    for weight, array in zip(model.weights, found, strict=True):
        weight.assign(np.asarray(array, "float32"))
