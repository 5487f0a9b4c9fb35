"""The four parts of a Stable Diffusion model, at full size or tiny, with the same call signatures.

Full size is KerasCV's Stable Diffusion 1.x. `tiny` is built from the same KerasCV layers at small widths, so that
everything that works on one works on the other. Shapes, for an image of H x W pixels, a prompt of L tokens and a text
encoder of width D:

- text encoder: tokens (B, L) int32, positions (B, L) int32 -> context (B, L, D)
- diffusion model: latent (B, H/8, W/8, 4), timestep_embedding (B, 320), context (B, L, D) -> noise (B, H/8, W/8, 4)
- image encoder: image (B, H, W, 3) in [-1, 1] -> (B, H/8, W/8, 8), mean and log variance of the latents, not yet scaled
- decoder: latent (B, H/8, W/8, 4) -> image (B, H, W, 3) in about [-1, 1]
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
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

from trainer.autoencoder import LATENT_SCALE
from trainer.parts import TIMESTEP_WIDTH
from trainer.parts import TextEncoder as TextEncoderPart


@dataclass(frozen=True)
class Architecture:
    """The sizes that differ between base models: `prompt_length` in tokens, `context_width` of the text encoder."""

    prompt_length: int
    vocabulary: int
    context_width: int


TINY_ARCHITECTURE = Architecture(prompt_length=24, vocabulary=0, context_width=96)
SD_ARCHITECTURE = Architecture(prompt_length=77, vocabulary=49408, context_width=768)


def tiny_text_encoder(vocabulary: int) -> keras.Model:
    """A CLIP text encoder of 3 layers, 4 heads and width 96."""
    width, length = TINY_ARCHITECTURE.context_width, TINY_ARCHITECTURE.prompt_length
    tokens = keras.layers.Input((length,), dtype="int32", name="tokens")
    positions = keras.layers.Input((length,), dtype="int32", name="positions")
    x = CLIPEmbedding(vocabulary, width, length)([tokens, positions])
    for _ in range(3):
        x = CLIPEncoderLayer(width, 4, activation=quick_gelu)(x)
    x = keras.layers.LayerNormalization(epsilon=1e-5)(x)
    return keras.Model([tokens, positions], x, name="text_encoder")


def tiny_diffusion_model(height: int, width: int) -> keras.Model:
    """A denoising UNet of two resolutions, 64 and 96 channels wide."""
    context = keras.layers.Input((TINY_ARCHITECTURE.prompt_length, TINY_ARCHITECTURE.context_width), name="context")
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
    """The encoder half of the VAE, 32 to 64 channels wide."""
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
    """The decoder half of the VAE, 64 to 32 channels wide."""
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
    """KerasCV's VAE encoder without its last layer, so that it gives mean and log variance."""
    whole = ImageEncoder(download_weights=False)
    return keras.Sequential([keras.layers.Input((None, None, 3)), *whole.layers[:-1]], name="image_encoder")


def text_encoder(base_model: str, vocabulary: int) -> keras.Model:
    """The text encoder of a base model, its weights not loaded yet."""
    if base_model == "tiny":
        return tiny_text_encoder(vocabulary)
    return TextEncoder(SD_ARCHITECTURE.prompt_length, vocabulary, name="text_encoder", download_weights=False)


def diffusion_model(base_model: str, height: int, width: int) -> keras.Model:
    """The denoising UNet of a base model for images of `height` x `width` pixels, its weights not loaded yet."""
    if base_model == "tiny":
        return tiny_diffusion_model(height, width)
    length = SD_ARCHITECTURE.prompt_length
    return DiffusionModel(height, width, length, name="diffusion_model", download_weights=False)


def image_encoder(base_model: str) -> keras.Model:
    """The VAE's encoder of a base model, its weights not loaded yet."""
    return tiny_image_encoder() if base_model == "tiny" else sd_image_encoder()


def decoder(base_model: str, height: int, width: int) -> keras.Model:
    """The VAE's decoder of a base model, its weights not loaded yet."""
    if base_model == "tiny":
        return tiny_decoder(height, width)
    return Decoder(height, width, name="decoder", download_weights=False)


def splice(text_encoder: TextEncoderPart, tokens: Any, vectors: Any, positions: Any = None) -> Any:
    """Encode prompts with rows of its own for the new tokens; see `trainer.parts.TextEncoder.splice`."""
    return text_encoder.splice(tokens, vectors, positions)


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


def timestep_embedding(timesteps: Any, width: int = TIMESTEP_WIDTH, max_period: float = 10_000.0) -> Any:
    """Sinusoids of the timesteps, (B,) -> (B, width): cosines first, as Stable Diffusion's UNet was trained with."""
    half = width // 2
    frequencies = np.exp(-np.log(max_period) * np.arange(half, dtype="float32") / half)
    angles = tf.cast(timesteps, "float32")[:, None] * frequencies[None, :]
    return tf.concat([tf.cos(angles), tf.sin(angles)], axis=1)
