"""The denoising UNet of latent diffusion (Rombach et al. 2022), which every training and drawing step goes through.

It computes what diffusers' UNet2DConditionModel computes (tests/trainer/test_checkpoints.py), and with `KERAS_CV` as
its numbers what KerasCV's model does (tests/trainer/test_parity.py). The weights are read in the order of KerasCV's, as
they lie on disk: building KerasCV's model draws 860 million numbers that are then thrown away, and its layers are
traced one by one. Shapes are those of trainer.models.keras_reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.models import layers
from trainer.models.layers import Affine, ReadWeight
from trainer.models.shapes import EPSILON, ORIGINAL, TIMESTEP_WIDTH, Numbers, UNetShape


class DiffusionModel:
    """The UNet of latent diffusion (Rombach et al. 2022).

    It predicts the noise ("epsilon"), or the velocity ("v", Salimans and Ho 2022): alpha times the noise less sigma
    times the clean latents.
    """

    weights: Sequence[Any]

    def __init__(
        self, shape: UNetShape, read: ReadWeight, numbers: Numbers = ORIGINAL, prediction: str = "epsilon"
    ) -> None:
        self.shape, self.prediction = shape, prediction
        # Keras lists the first of the two dense layers before, the second after the first convolution.
        first = Affine(read, shape.timestep_width, shape.time_width)
        width, saved = 4, []
        self.blocks: list[Any] = []
        for kind, wanted in shape.plan:
            if kind == "save":
                saved.append(width)
            elif kind == "join":
                width += saved.pop()
            else:
                self.blocks.append(_block(read, kind, width, wanted, shape, numbers))
                width = wanted
            if kind == "conv":
                self.time = (first, Affine(read, shape.time_width, shape.time_width))
        self.norm = Affine(read, width)
        self.out = Affine(read, 3, 3, width, 4)

    def cross_attention_kv(self, context: Any) -> list[Any]:
        """Precompute each transformer's cross-attention keys and values, (B, L, 2 C), of a context (B, L, D).

        They are constant over the denoising steps.
        """
        context = tf.cast(context, self.out.kernel.dtype)
        return [layers.dense(context, block.key_value) for block in self.blocks if isinstance(block, _Transformer)]

    def __call__(self, inputs: Sequence[Any]) -> Any:
        """Predict, float32, from latent (B, H/8, W/8, 4), timestep_embedding (B, 320) and context (B, L, D).

        Instead of a context it takes what `cross_attention_kv` makes of one.
        """
        x, timestep, context = inputs
        key_values = iter(context if isinstance(context, (list, tuple)) else self.cross_attention_kv(context))
        t = layers.swish(layers.dense(timestep, *self.time[0]))
        # Every block begins with the same activation of it.
        t = layers.swish(layers.dense(t, *self.time[1]))
        saved, blocks = [], iter(self.blocks)
        for kind, _ in self.shape.plan:
            if kind == "save":
                saved.append(x)
            elif kind == "join":
                x = tf.concat([x, saved.pop()], axis=-1)
            else:
                x = next(blocks)(x, t, next(key_values) if kind == "attend" else None)
        x = layers.swish(layers.group_norm(x, EPSILON, *self.norm))
        return tf.cast(layers.conv(x, *self.out), tf.float32)


def timestep_embedding(timesteps: Any, width: int = TIMESTEP_WIDTH, max_period: float = 10_000.0) -> Any:
    """Embed timesteps as sinusoids, (B,) -> (B, width): cosines first, as Stable Diffusion's UNet was trained with."""
    half = width // 2
    frequencies = np.exp(-np.log(max_period) * np.arange(half, dtype="float32") / half)
    angles = tf.cast(timesteps, "float32")[:, None] * frequencies[None, :]
    return tf.concat([tf.cos(angles), tf.sin(angles)], axis=1)


def _block(read: ReadWeight, kind: str, width: int, wanted: int, shape: UNetShape, numbers: Numbers) -> Any:
    if kind == "res":
        return _ResBlock(read, width, wanted, shape.time_width)
    if kind == "attend":
        return _Transformer(read, wanted, shape, numbers)
    return _Conv(read, kind, width, wanted)


class _Conv:
    def __init__(self, read: ReadWeight, kind: str, width: int, wanted: int) -> None:
        self.kind = kind
        self.conv = Affine(read, 3, 3, width, wanted)

    def __call__(self, x: Any, _time: Any, _context: Any) -> Any:
        if self.kind == "up":
            x = layers.upsample(x)
        return layers.conv(x, self.conv.kernel, self.conv.bias, 2 if self.kind == "down" else 1)


class _ResBlock:
    def __init__(self, read: ReadWeight, width: int, wanted: int, time_width: int) -> None:
        self.norm1, self.conv1 = Affine(read, width), Affine(read, 3, 3, width, wanted)
        self.time = Affine(read, time_width, wanted)
        self.norm2, self.conv2 = Affine(read, wanted), Affine(read, 3, 3, wanted, wanted)
        self.residual = Affine(read, 1, 1, width, wanted) if width != wanted else None

    def __call__(self, x: Any, time: Any, _context: Any) -> Any:
        y = layers.conv(layers.swish(layers.group_norm(x, EPSILON, *self.norm1)), *self.conv1)
        y += layers.dense(time, *self.time)[:, None, None]
        y = layers.conv(layers.swish(layers.group_norm(y, EPSILON, *self.norm2)), *self.conv2)
        return y + (layers.conv(x, *self.residual) if self.residual else x)


class _Transformer:
    def __init__(self, read: ReadWeight, width: int, shape: UNetShape, numbers: Numbers) -> None:
        self.heads, self.epsilon = shape.heads_of(width), numbers.epsilon
        self.gelu = layers.gelu if numbers.exact_gelu else layers.tanh_gelu
        self.norm, self.enter = Affine(read, width), Affine(read, 1, 1, width, width)
        self.norm1 = Affine(read, width)
        # Projections of one input are one product.
        self.query_key_value = read(*[(width, width)] * 3)
        self.out1 = Affine(read, width, width)
        self.norm2 = Affine(read, width)
        self.query = read((width, width))
        self.key_value = read(*[(shape.context_width, width)] * 2)
        self.out2 = Affine(read, width, width)
        self.norm3 = Affine(read, width)
        self.widen = read((width, 8 * width), transposed=True), read((8 * width,))
        self.narrow = Affine(read, 4 * width, width)
        self.leave = Affine(read, 1, 1, width, width)

    def __call__(self, inputs: Any, _time: Any, key_value: Any) -> Any:
        _, height, width, channels = inputs.shape
        x = layers.conv(layers.group_norm(inputs, self.epsilon, *self.norm), *self.enter)
        x = tf.reshape(x, (-1, height * width, channels))

        def norm(x: Any, affine: Affine) -> Any:
            return tf.cast(layers.layer_norm(x, *affine), x.dtype)

        queries, keys, values = layers.split_columns(layers.dense(norm(x, self.norm1), self.query_key_value), 3)
        x += layers.dense(layers.attention(queries, keys, values, self.heads), *self.out1)
        keys, values = layers.split_columns(key_value, 2)
        queries = layers.dense(norm(x, self.norm2), self.query)
        x += layers.dense(layers.attention(queries, keys, values, self.heads), *self.out2)
        wide, gate = layers.split_columns(layers.dense(norm(x, self.norm3), *self.widen, transposed=True), 2)
        x += layers.dense(wide * self.gelu(gate), *self.narrow)
        return layers.conv(tf.reshape(x, (-1, height, width, channels)), *self.leave) + inputs
