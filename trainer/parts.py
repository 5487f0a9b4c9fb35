"""The two frozen parts of a base model that every training step goes through: text encoder and UNet.

They compute what KerasCV's models of the same names compute (tests/trainer/test_parity.py), from the same weights in
the same order, but take them as they lie on disk: building KerasCV's models draws 860 million numbers that are then
thrown away, and their layers are traced one by one. Shapes are those of trainer.models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from trainer import layers

TIMESTEP_WIDTH = 320
Take = Callable[..., Any]
"""Gives the next weight, a tf.Variable; see `trainer.weights.Taker`."""


@dataclass(frozen=True)
class TextEncoderShape:
    """Sizes of a CLIP text encoder; `length` in tokens."""

    length: int
    width: int
    layers: int
    heads: int


@dataclass(frozen=True)
class UNetShape:
    """Sizes of a UNet. `plan` lists its blocks from input to output, each a kind and its width in channels."""

    context_width: int
    time_width: int
    heads: int
    plan: tuple[tuple[str, int], ...]


def _sd_plan() -> Iterator[tuple[str, int]]:
    widths = list(enumerate((320, 640, 1280, 1280)))
    yield from (("conv", 320), ("save", 0))
    for level, width in widths:
        for _ in range(2):
            yield "res", width
            if level < 3:
                yield "attend", width
            yield "save", 0
        if level < 3:
            yield from (("down", width), ("save", 0))
    yield from (("res", 1280), ("attend", 1280), ("res", 1280))
    for level, width in reversed(widths):
        for _ in range(3):
            yield from (("join", 0), ("res", width))
            if level < 3:
                yield "attend", width
        if level:
            yield "up", width


def _tiny_plan() -> Iterator[tuple[str, int]]:
    yield from (("conv", 64), ("save", 0), ("res", 64), ("attend", 64), ("save", 0))
    yield from (("down", 96), ("save", 0), ("res", 96), ("attend", 96), ("save", 0))
    yield from (("res", 96), ("attend", 96))
    for _ in range(2):
        yield from (("join", 0), ("res", 96), ("attend", 96))
    yield "up", 64
    for _ in range(2):
        yield from (("join", 0), ("res", 64), ("attend", 64))


TEXT_ENCODERS = {"tiny": TextEncoderShape(24, 96, 3, 4), "sd-v1-4": TextEncoderShape(77, 768, 12, 12)}
UNETS = {
    "tiny": UNetShape(96, 192, 4, tuple(_tiny_plan())),
    "sd-v1-4": UNetShape(768, 1280, 8, tuple(_sd_plan())),
}


class Affine:
    """A kernel and a bias, or a norm's gamma and beta."""

    def __init__(self, take: Take, *shape: int) -> None:
        self.kernel = take(shape)
        self.bias = take(shape[-1:])

    def __iter__(self) -> Iterator[Any]:
        return iter((self.kernel, self.bias))


class TextEncoder:
    """CLIP's text encoder (Radford et al. 2021), with room for rows that are not in its table."""

    weights: Sequence[Any]

    def __init__(self, shape: TextEncoderShape, vocabulary: int, take: Take) -> None:
        width = shape.width
        self.shape, self.vocabulary = shape, vocabulary
        self.table = take((vocabulary, width))
        self.positions = take((shape.length, width))
        self.blocks = [EncoderBlock(take, width, shape.heads) for _ in range(shape.layers)]
        self.norm = Affine(take, width)
        self.output_shape = (None, shape.length, width)

    def splice(self, tokens: Any, vectors: Any, positions: Any = None) -> Any:
        """Encode prompts with rows of its own for the new tokens, whose ids follow the vocabulary.

        Args:
            tokens: (B, L) int32.
            vectors: (num_vectors, D) float32; a gradient flows to these and to nothing else that is trained.
            positions: (B, L) int32; None for 0, 1, 2, ...

        Returns:
            The context, (B, L, D) float32.
        """
        is_new = tokens >= self.vocabulary
        frozen = tf.gather(self.table, tf.where(is_new, 0, tokens))
        new = tf.gather(vectors, tf.where(is_new, tokens - self.vocabulary, 0))
        if positions is None:
            positions = tf.range(tokens.shape[1])[None, :]
        placed = tf.cast(tf.gather(self.positions, positions), tf.float32)
        x = tf.where(is_new[..., None], new, tf.cast(frozen, tf.float32)) + placed
        length = self.shape.length
        mask = tf.constant(np.triu(np.full((length, length), -np.inf, "float32"), 1))
        for block in self.blocks:
            x = block(x, mask)
        return layers.layer_norm(x, *self.norm)


class EncoderBlock:
    """One block of a CLIP transformer, for texts or pictures: norm, attention, norm, and two dense layers."""

    def __init__(self, take: Take, width: int, heads: int) -> None:
        self.heads = heads
        self.norm1 = Affine(take, width)
        self.query, self.key, self.value, self.out = (Affine(take, width, width) for _ in range(4))
        self.norm2 = Affine(take, width)
        self.widen, self.narrow = Affine(take, width, 4 * width), Affine(take, 4 * width, width)

    def __call__(self, x: Any, mask: Any) -> Any:
        """Tokens, (B, T, width), to as many; `mask`, (T, T), is added to the attention's scores, None for none."""
        y = tf.cast(layers.layer_norm(x, *self.norm1), self.query.kernel.dtype)
        query, key, value = (layers.dense(y, *part) for part in (self.query, self.key, self.value))
        x += tf.cast(layers.dense(layers.attention(query, key, value, self.heads, mask), *self.out), x.dtype)
        y = layers.quick_gelu(layers.dense(layers.layer_norm(x, *self.norm2), *self.widen))
        return x + tf.cast(layers.dense(y, *self.narrow), x.dtype)


class DiffusionModel:
    """The UNet of latent diffusion (Rombach et al. 2022)."""

    weights: Sequence[Any]

    def __init__(self, shape: UNetShape, take: Take) -> None:
        self.shape = shape
        # Keras lists the first of the two dense layers before, the second after the first convolution.
        first = Affine(take, TIMESTEP_WIDTH, shape.time_width)
        width, saved = 4, []
        self.blocks: list[Any] = []
        for kind, wanted in shape.plan:
            if kind == "save":
                saved.append(width)
            elif kind == "join":
                width += saved.pop()
            else:
                self.blocks.append(_block(take, kind, width, wanted, shape))
                width = wanted
            if kind == "conv":
                self.time = (first, Affine(take, shape.time_width, shape.time_width))
        self.norm = Affine(take, width)
        self.out = Affine(take, 3, 3, width, 4)

    def read(self, context: Any) -> list[Any]:
        """Keys and values of a context (B, L, D) for each transformer, (B, L, 2 C): a drawing needs them once."""
        context = tf.cast(context, self.out.kernel.dtype)
        return [layers.dense(context, block.key_value) for block in self.blocks if isinstance(block, _Transformer)]

    def __call__(self, inputs: Sequence[Any]) -> Any:
        """Latent (B, H/8, W/8, 4), timestep_embedding (B, 320), context (B, L, D) to the noise, float32.

        Instead of a context it takes what `read` makes of one.
        """
        x, timestep, context = inputs
        read = iter(context if isinstance(context, (list, tuple)) else self.read(context))
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
                x = next(blocks)(x, t, next(read) if kind == "attend" else None)
        x = layers.swish(layers.group_norm(x, *self.norm))
        return tf.cast(layers.conv(x, *self.out), tf.float32)


def timestep_embedding(timesteps: Any, width: int = TIMESTEP_WIDTH, max_period: float = 10_000.0) -> Any:
    """Sinusoids of the timesteps, (B,) -> (B, width): cosines first, as Stable Diffusion's UNet was trained with."""
    half = width // 2
    frequencies = np.exp(-np.log(max_period) * np.arange(half, dtype="float32") / half)
    angles = tf.cast(timesteps, "float32")[:, None] * frequencies[None, :]
    return tf.concat([tf.cos(angles), tf.sin(angles)], axis=1)


def _block(take: Take, kind: str, width: int, wanted: int, shape: UNetShape) -> Any:
    if kind == "res":
        return _ResBlock(take, width, wanted, shape.time_width)
    if kind == "attend":
        return _Transformer(take, wanted, shape.context_width, shape.heads)
    return _Conv(take, kind, width, wanted)


class _Conv:
    def __init__(self, take: Take, kind: str, width: int, wanted: int) -> None:
        self.kind = kind
        self.conv = Affine(take, 3, 3, width, wanted)

    def __call__(self, x: Any, _time: Any, _context: Any) -> Any:
        if self.kind == "up":
            x = layers.upsample(x)
        return layers.conv(x, self.conv.kernel, self.conv.bias, 2 if self.kind == "down" else 1)


class _ResBlock:
    def __init__(self, take: Take, width: int, wanted: int, time_width: int) -> None:
        self.norm1, self.conv1 = Affine(take, width), Affine(take, 3, 3, width, wanted)
        self.time = Affine(take, time_width, wanted)
        self.norm2, self.conv2 = Affine(take, wanted), Affine(take, 3, 3, wanted, wanted)
        self.residual = Affine(take, 1, 1, width, wanted) if width != wanted else None

    def __call__(self, x: Any, time: Any, _context: Any) -> Any:
        y = layers.conv(layers.swish(layers.group_norm(x, *self.norm1)), *self.conv1)
        y += layers.dense(time, *self.time)[:, None, None]
        y = layers.conv(layers.swish(layers.group_norm(y, *self.norm2)), *self.conv2)
        return y + (layers.conv(x, *self.residual) if self.residual else x)


class _Transformer:
    def __init__(self, take: Take, width: int, context_width: int, heads: int) -> None:
        self.heads = heads
        self.norm, self.enter = Affine(take, width), Affine(take, 1, 1, width, width)
        self.norm1 = Affine(take, width)
        # Projections of one input are one product.
        self.query_key_value = take(*[(width, width)] * 3)
        self.out1 = Affine(take, width, width)
        self.norm2 = Affine(take, width)
        self.query = take((width, width))
        self.key_value = take(*[(context_width, width)] * 2)
        self.out2 = Affine(take, width, width)
        self.norm3 = Affine(take, width)
        self.widen = take((width, 8 * width), transposed=True), take((8 * width,))
        self.narrow = Affine(take, 4 * width, width)
        self.leave = Affine(take, 1, 1, width, width)

    def __call__(self, inputs: Any, _time: Any, key_value: Any) -> Any:
        _, height, width, channels = inputs.shape
        x = layers.conv(layers.group_norm(inputs, *self.norm), *self.enter)
        x = tf.reshape(x, (-1, height * width, channels))

        def norm(x: Any, affine: Affine) -> Any:
            return tf.cast(layers.layer_norm(x, *affine), x.dtype)

        queries, keys, values = layers.split_columns(layers.dense(norm(x, self.norm1), self.query_key_value), 3)
        x += layers.dense(layers.attention(queries, keys, values, self.heads), *self.out1)
        keys, values = layers.split_columns(key_value, 2)
        queries = layers.dense(norm(x, self.norm2), self.query)
        x += layers.dense(layers.attention(queries, keys, values, self.heads), *self.out2)
        wide, gate = layers.split_columns(layers.dense(norm(x, self.norm3), *self.widen, transposed=True), 2)
        x += layers.dense(wide * layers.gelu(gate), *self.narrow)
        return layers.conv(tf.reshape(x, (-1, height, width, channels)), *self.leave) + inputs
