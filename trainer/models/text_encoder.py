"""The text encoder of CLIP (Radford et al. 2021), which every training step goes through.

It computes what KerasCV's model of the same name computes (tests/trainer/test_parity.py), from the same weights in the
same order, but takes them as they lie on disk. B is a batch of prompts, L the tokens of one, D the encoder's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.models import layers
from trainer.models.layers import Affine, ReadWeight
from trainer.models.shapes import TextEncoderShape


class TextEncoder:
    """CLIP's text encoder (Radford et al. 2021), with room for rows that are not in its table."""

    weights: Sequence[Any]

    def __init__(self, shape: TextEncoderShape, vocabulary: int, read: ReadWeight) -> None:
        width = shape.width
        self.shape, self.vocabulary = shape, vocabulary
        self.table = read((vocabulary, width))
        self.positions = read((shape.length, width))
        self.blocks = [EncoderBlock(read, width, shape.heads, quick=shape.quick) for _ in range(shape.layers)]
        self.norm = Affine(read, width)
        self.output_shape = (None, shape.length, width)

    def encode_with_placeholders(self, tokens: Any, vectors: Any, positions: Any = None) -> Any:
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

    def __init__(self, read: ReadWeight, width: int, heads: int, *, quick: bool = True) -> None:
        self.heads = heads
        self.activation = layers.quick_gelu if quick else layers.gelu
        self.norm1 = Affine(read, width)
        self.query, self.key, self.value, self.out = (Affine(read, width, width) for _ in range(4))
        self.norm2 = Affine(read, width)
        self.widen, self.narrow = Affine(read, width, 4 * width), Affine(read, 4 * width, width)

    def __call__(self, x: Any, mask: Any) -> Any:
        """Transform tokens (B, T, width); `mask` (T, T) is added to the attention's scores, None for none."""
        y = tf.cast(layers.layer_norm(x, *self.norm1), self.query.kernel.dtype)
        query, key, value = (layers.dense(y, *part) for part in (self.query, self.key, self.value))
        x += tf.cast(layers.dense(layers.attention(query, key, value, self.heads, mask), *self.out), x.dtype)
        y = self.activation(layers.dense(layers.layer_norm(x, *self.norm2), *self.widen))
        return x + tf.cast(layers.dense(y, *self.narrow), x.dtype)
