"""The VAE's encoder, as functions like those of trainer.parts: it sees each view of a picture once.

It computes what KerasCV's does (tests/trainer/test_parity.py) from the same weights in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from trainer import layers
from trainer.parts import Affine, Take


@dataclass(frozen=True)
class ImageEncoderShape:
    """`plan` lists the blocks from the picture to the middle, each a kind and its width in channels."""

    plan: tuple[tuple[str, int], ...]


IMAGE_ENCODERS = {
    "tiny": ImageEncoderShape(
        (
            ("conv", 32),
            *(("down", 32), ("res", 32)),
            *(("down", 64), ("res", 64)),
            *(("down", 64), ("res", 64), ("attend", 64), ("res", 64)),
        )
    ),
    "sd-v1-4": ImageEncoderShape(
        (
            *(("conv", 128), ("res", 128), ("res", 128)),
            *(("down", 128), ("res", 256), ("res", 256)),
            *(("down", 256), ("res", 512), ("res", 512)),
            *(("down", 512), ("res", 512), ("res", 512)),
            *(("res", 512), ("attend", 512), ("res", 512)),
        )
    ),
}


class ImageEncoder:
    """The encoder half of the autoencoder of latent diffusion (Rombach et al. 2022)."""

    weights: Sequence[Any]

    def __init__(self, shape: ImageEncoderShape, take: Take) -> None:
        width = 3
        self.blocks: list[Any] = []
        for kind, wanted in shape.plan:
            if kind == "res":
                self.blocks.append(_ResBlock(take, width, wanted))
            elif kind == "attend":
                self.blocks.append(_Attention(take, wanted))
            else:
                self.blocks.append(_Conv(take, width, wanted, down=kind == "down"))
            width = wanted
        self.norm = Affine(take, width)
        self.narrow, self.out = Affine(take, 3, 3, width, 8), Affine(take, 1, 1, 8, 8)

    def __call__(self, x: Any) -> Any:
        """Pictures (B, H, W, 3) in [-1, 1] to (B, H/8, W/8, 8) float32: mean and log variance, not yet scaled."""
        for block in self.blocks:
            x = block(x)
        x = layers.swish(layers.group_norm(x, *self.norm))
        return tf.cast(layers.conv(layers.conv(x, *self.narrow), *self.out), tf.float32)


class _Conv:
    def __init__(self, take: Take, width: int, wanted: int, *, down: bool) -> None:
        self.down = down
        self.conv = Affine(take, 3, 3, width, wanted)

    def __call__(self, x: Any) -> Any:
        if not self.down:
            return layers.conv(x, *self.conv)
        # Unlike the UNet, it pads only below and on the right where it halves the picture.
        kernel, bias = self.conv
        padded = tf.pad(tf.cast(x, kernel.dtype), ((0, 0), (0, 1), (0, 1), (0, 0)))
        return tf.nn.bias_add(tf.nn.conv2d(padded, kernel, 2, "VALID"), bias)


class _ResBlock:
    def __init__(self, take: Take, width: int, wanted: int) -> None:
        self.norm1, self.conv1 = Affine(take, width), Affine(take, 3, 3, width, wanted)
        self.norm2, self.conv2 = Affine(take, wanted), Affine(take, 3, 3, wanted, wanted)
        self.residual = Affine(take, 1, 1, width, wanted) if width != wanted else None

    def __call__(self, x: Any) -> Any:
        y = layers.conv(layers.swish(layers.group_norm(x, *self.norm1)), *self.conv1)
        y = layers.conv(layers.swish(layers.group_norm(y, *self.norm2)), *self.conv2)
        return y + (layers.conv(x, *self.residual) if self.residual else x)


class _Attention:
    def __init__(self, take: Take, width: int) -> None:
        self.norm = Affine(take, width)
        self.query, self.key, self.value, self.out = (Affine(take, 1, 1, width, width) for _ in range(4))

    def __call__(self, x: Any) -> Any:
        _, height, width, channels = x.shape
        y = tf.reshape(layers.group_norm(x, *self.norm), (-1, height * width, channels))
        query, key, value = (
            layers.dense(y, tf.reshape(kernel, (channels, channels)), bias)
            for kernel, bias in (self.query, self.key, self.value)
        )
        y = tf.reshape(layers.attention(query, key, value, 1), (-1, height, width, channels))
        return layers.conv(y, *self.out) + x
