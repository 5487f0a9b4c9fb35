"""The autoencoder of latent diffusion (Rombach et al. 2022), as functions like those of `unet`.

Its encoder sees each view of a picture once, its decoder makes pictures of what was drawn. Both compute what diffusers'
AutoencoderKL does (tests/trainer/test_checkpoints.py), and with `KERAS_CV` what KerasCV's do
(tests/trainer/test_parity.py); the weights are read in the order of KerasCV's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from trainer.models import layers
from trainer.models.layers import Affine, ReadWeight
from trainer.models.shapes import LATENT_SCALE, ORIGINAL, Numbers, Plan


class ImageEncoder:
    """The VAE's encoder: pictures to latents."""

    weights: Sequence[Any]

    def __init__(self, plan: Plan, read: ReadWeight, numbers: Numbers = ORIGINAL) -> None:
        self.blocks, width = _blocks(plan, 3, read, numbers.epsilon)
        self.epsilon = numbers.epsilon
        self.norm = Affine(read, width)
        self.narrow, self.out = Affine(read, 3, 3, width, 8), Affine(read, 1, 1, 8, 8)

    def __call__(self, x: Any) -> Any:
        """Encode pictures (B, H, W, 3) in [-1, 1] to unscaled mean and log variance, (B, H/8, W/8, 8) float32."""
        for block in self.blocks:
            x = block(x)
        x = layers.swish(layers.group_norm(x, self.epsilon, *self.norm))
        return tf.cast(layers.conv(layers.conv(x, *self.narrow), *self.out), tf.float32)


class Decoder:
    """The VAE's decoder: latents to pictures."""

    weights: Sequence[Any]

    def __init__(self, plan: Plan, read: ReadWeight, numbers: Numbers = ORIGINAL) -> None:
        self.enter = Affine(read, 1, 1, 4, 4)
        self.blocks, width = _blocks(plan, 4, read, numbers.epsilon)
        self.epsilon = numbers.epsilon
        self.norm = Affine(read, width)
        self.out = Affine(read, 3, 3, width, 3)

    def __call__(self, latents: Any) -> Any:
        """Decode latents (B, H/8, W/8, 4) of unit variance to pictures (B, H, W, 3) float32 in about [-1, 1]."""
        x = layers.conv(latents / LATENT_SCALE, *self.enter)
        for block in self.blocks:
            x = block(x)
        x = layers.swish(layers.group_norm(x, self.epsilon, *self.norm))
        return tf.cast(layers.conv(x, *self.out), tf.float32)


def _blocks(plan: Plan, width: int, read: ReadWeight, epsilon: float) -> tuple[list[Any], int]:
    """Build the blocks of a plan for an input of `width` channels; return them and their output's channels."""
    blocks: list[Any] = []
    for kind, wanted in plan:
        if kind == "res":
            blocks.append(_ResBlock(read, width, wanted, epsilon))
        elif kind == "attend":
            blocks.append(_Attention(read, wanted, epsilon))
        else:
            blocks.append(_Conv(read, kind, width, wanted))
        width = wanted
    return blocks, width


class _Conv:
    def __init__(self, read: ReadWeight, kind: str, width: int, wanted: int) -> None:
        self.kind = kind
        self.conv = Affine(read, 3, 3, width, wanted)

    def __call__(self, x: Any) -> Any:
        if self.kind != "down":
            return layers.conv(layers.upsample(x) if self.kind == "up" else x, *self.conv)
        # Unlike the UNet, it pads only below and on the right where it halves the picture.
        kernel, bias = self.conv
        padded = tf.pad(tf.cast(x, kernel.dtype), ((0, 0), (0, 1), (0, 1), (0, 0)))
        return layers.conv_padded(padded, kernel, bias, 2)


class _ResBlock:
    def __init__(self, read: ReadWeight, width: int, wanted: int, epsilon: float) -> None:
        self.epsilon = epsilon
        self.norm1, self.conv1 = Affine(read, width), Affine(read, 3, 3, width, wanted)
        self.norm2, self.conv2 = Affine(read, wanted), Affine(read, 3, 3, wanted, wanted)
        self.residual = Affine(read, 1, 1, width, wanted) if width != wanted else None

    def __call__(self, x: Any) -> Any:
        y = layers.conv(layers.swish(layers.group_norm(x, self.epsilon, *self.norm1)), *self.conv1)
        y = layers.conv(layers.swish(layers.group_norm(y, self.epsilon, *self.norm2)), *self.conv2)
        return y + (layers.conv(x, *self.residual) if self.residual else x)


class _Attention:
    def __init__(self, read: ReadWeight, width: int, epsilon: float) -> None:
        self.epsilon = epsilon
        self.norm = Affine(read, width)
        self.query, self.key, self.value, self.out = (Affine(read, 1, 1, width, width) for _ in range(4))

    def __call__(self, x: Any) -> Any:
        _, height, width, channels = x.shape
        y = tf.reshape(layers.group_norm(x, self.epsilon, *self.norm), (-1, height * width, channels))
        query, key, value = (
            layers.dense(y, tf.reshape(kernel, (channels, channels)), bias)
            for kernel, bias in (self.query, self.key, self.value)
        )
        y = tf.reshape(layers.attention(query, key, value, 1), (-1, height, width, channels))
        return layers.conv(y, *self.out) + x
