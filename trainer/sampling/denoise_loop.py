"""The compiled half of drawing: all steps of a solver as one loop, and the VAE's decoder.

Everything in it is a function of tensors; what a person asks for is `sampler`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.base_weights.base_model import BaseModel
from trainer.models.autoencoder import Decoder
from trainer.models.layers import disable_grappler_on_cpu
from trainer.models.unet import DiffusionModel, timestep_embedding

Callback = Callable[[int, int], None]


class CompiledModels:
    """UNet and decoder, compiled for each size of pictures, with one set of weights for all of them."""

    def __init__(self, base: BaseModel, resolution: int, diffusion_model: DiffusionModel | None) -> None:
        disable_grappler_on_cpu()
        self._unet = diffusion_model or base.diffusion_model(resolution, resolution)
        self._decoder = base.decoder()
        self._cross_attention_kv = tf.function(self._unet.cross_attention_kv, autograph=False)
        self._loops: dict[tuple[Any, ...], Any] = {}
        self._decoders: dict[tuple[int | None, int, int], Any] = {}

    def cross_attention_kv(self, contexts: Any) -> list[Any]:
        """Precompute what the UNet takes of contexts (1 or 2, L, D): `DiffusionModel.cross_attention_kv`."""
        return list(self._cross_attention_kv(contexts))

    def loop(self, shape: Sequence[int], key_values: Sequence[Any], *, guided: bool) -> Any:
        """Compile, once for each shape, the steps for latents (B, h, w, 4); see `denoise_steps`."""
        # A picture alone is convolved in another way than several; with guidance there are always two.
        count = 1 if shape[0] == 1 and not guided else None
        key = (count, *shape[1:], guided)
        if key not in self._loops:
            signature = (
                tf.TensorSpec((count, *shape[1:]), tf.float32),
                tf.TensorSpec((count, *shape[1:]), tf.float32),
                tf.TensorSpec((None, 6), tf.float32),
                [tf.TensorSpec(part.shape, part.dtype) for part in key_values],
                tf.TensorSpec((), tf.float32),
            )
            self._loops[key] = tf.function(
                denoise_steps(self._unet, guided), input_signature=signature, autograph=False
            )
        return self._loops[key]

    def decode(self, latents: Any) -> npt.NDArray[np.uint8]:
        """Decode latents (B, h, w, 4) to pictures, uint8 (B, 8 h, 8 w, 3)."""
        # A picture alone is decoded in another way than several.
        count = 1 if latents.shape[0] == 1 else None
        key = (count, int(latents.shape[1]), int(latents.shape[2]))
        if key not in self._decoders:
            signature = (tf.TensorSpec((*key, 4), tf.float32),)
            self._decoders[key] = tf.function(_pixels(self._decoder), input_signature=signature, autograph=False)
        return np.asarray(self._decoders[key](latents))


def denoise_steps(unet: DiffusionModel, guided: bool) -> Callable[..., Any]:
    """Build a tf.while_loop over solver rows: (x_t, x0_prev) -> (x_s, x0)."""

    def steps(latents: Any, before: Any, rows: Any, key_values: Sequence[Any], scale: Any) -> Any:
        key_values = [tf.repeat(part, tf.shape(latents)[0], axis=0) for part in key_values]

        def step(index: Any, latents: Any, before: Any) -> Any:
            timestep, alpha, sigma, carry, now, earlier = tf.unstack(rows[index])
            both = tf.concat([latents, latents], axis=0) if guided else latents
            embedding = timestep_embedding(tf.repeat(timestep[None], tf.shape(both)[0]), unet.shape.timestep_width)
            predicted = tf.cast(unet([both, embedding, key_values]), tf.float32)
            if guided:
                unconditional, wanted = tf.split(predicted, 2, axis=0)
                predicted = unconditional + scale * (wanted - unconditional)
            if unet.prediction == "epsilon":
                clean = (latents - sigma * predicted) / alpha
            else:
                clean = alpha * latents - sigma * predicted
            return index + 1, carry * latents + now * clean + earlier * before, clean

        wanted = lambda index, *_: index < tf.shape(rows)[0]  # noqa: E731
        return tf.while_loop(wanted, step, (0, latents, before), parallel_iterations=1)[1:]

    return steps


def _pixels(decoder: Decoder) -> Callable[[Any], Any]:
    return lambda latents: tf.cast(tf.clip_by_value((decoder(latents) + 1.0) * 127.5 + 0.5, 0.0, 255.0), tf.uint8)


def run(loop: Any, latents: Any, rows: Any, key_values: Sequence[Any], scale: Any, callback: Callback | None) -> Any:
    """Take all steps at once, or with a callback one at a time: the same compiled loop, the same numbers.

    Args:
        loop: What `CompiledModels.loop` gave.
        latents: Noise, (B, h, w, 4) float32.
        rows: The solver's table, (steps, 6) float32.
        key_values: What `CompiledModels.cross_attention_kv` gave.
        scale: The guidance scale, a scalar float32.
        callback: Called with (steps done, steps in all).

    Returns:
        The clean latents, (B, h, w, 4) float32.
    """
    before = tf.zeros_like(latents)
    steps = int(rows.shape[0])
    if callback is None:
        return loop(latents, before, rows, key_values, scale)[0]
    for index in range(steps):
        latents, before = loop(latents, before, rows[index : index + 1], key_values, scale)
        callback(index + 1, steps)
    return latents
