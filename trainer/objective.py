"""What a training minimizes: where the vectors start, and the loss of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from safetensors import SafetensorError
from safetensors.numpy import load_file

from trainer.data.tokenizer import Tokenizer
from trainer.models.text_encoder import TextEncoder
from trainer.models.unet import DiffusionModel, timestep_embedding
from trainer.recipe import DEFAULT, Recipe
from trainer.sampling.noise_schedule import alphas_cumprod
from trainer.training_config import Config, ConfigError

Array = npt.NDArray[np.float32]
LEAST_SHOWN = 0.02
"""Share of a view that a mask shows, below which it weighs less: a view without any of the subject weighs nothing."""


@dataclass(frozen=True)
class Frozen:
    """The parts that do not change while the vectors are trained.

    `compiled` holds what was compiled over them: a later training in the same process traces nothing again.
    """

    text_encoder: TextEncoder
    diffusion_model: DiffusionModel
    tokenizer: Tokenizer
    compiled: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def dtype(self) -> Any:
        """The type that its weights are multiplied in."""
        return self.text_encoder.table.dtype

    def once(self, key: Hashable, compile_it: Callable[[], Any]) -> Any:
        """Return what was compiled under this key; the first call compiles it."""
        if key not in self.compiled:
            self.compiled[key] = compile_it()
        return self.compiled[key]


def initial_vectors(config: Config, frozen: Frozen, recipe: Recipe = DEFAULT) -> Array:
    """Compute what the vectors start from, float32 (num_vectors, D).

    An initializer of several tokens gives each its vector when there are as many, else all vectors their mean.
    """
    table = frozen.text_encoder.table
    ids = frozen.tokenizer.ids(config.initializer_token)
    # The whole table is 150 MB at full size: it is looked at only where it must be.
    rows = np.asarray(tf.cast(tf.gather(table, ids), tf.float32))
    row = rows.mean(axis=0)
    if recipe.initialization == "mean":
        row = np.asarray(table, "float32").mean(axis=0)
    elif recipe.initialization == "output":
        nothing = tf.zeros((1, table.shape[1]))
        tokens = tf.constant(frozen.tokenizer.rows([config.initializer_token]))
        output = np.asarray(frozen.text_encoder.encode_with_placeholders(tokens, nothing))[0, 1 : 1 + len(ids)].mean(
            axis=0
        )
        row = output * np.linalg.norm(row) / np.linalg.norm(output)
    starts = np.repeat(row[None, :], config.num_vectors, axis=0)
    if config.num_vectors == 1:
        return np.asarray(starts, "float32")
    rng = np.random.default_rng([config.seed, 7])
    # Equal vectors would get equal gradients for ever, so all but the first start a little aside.
    aside = rng.standard_normal((config.num_vectors, row.size)) * np.asarray(table, "float32").std() * 0.1
    if recipe.initialization == "row" and len(ids) <= config.num_vectors:
        starts[: len(ids)] = rows
        aside[: len(ids)] = 0.0
    aside[0] = 0.0
    return np.asarray(starts + aside, "float32")


def read_vectors(path: Path, option: str, frozen: Frozen) -> Array:
    """Read the vectors (V, D) of a learned_embeds.safetensors that `option` names, float32.

    Raises:
        ConfigError: It cannot be read, or holds no vectors of this base model's width.
    """
    width = frozen.text_encoder.shape.width
    try:
        (vectors,) = load_file(path).values()
    except (OSError, ValueError, SafetensorError) as error:
        raise ConfigError(f"{option} {path} cannot be read: {error}") from error
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise ConfigError(f"{option} {path}: its vectors are {vectors.shape}, and not {width} wide")
    return np.asarray(vectors, "float32")


def denoising_losses(frozen: Frozen, recipe: Recipe = DEFAULT) -> Callable[..., Any]:
    """Make the loss of a batch's rows, (B,): squared error of the predicted noise, weighted as the recipe says."""
    errors = squared_errors(frozen)
    alphas = alphas_cumprod()
    weights = np.ones_like(alphas)
    if recipe.min_snr:
        ratio = alphas / (1.0 - alphas)
        weights = (np.minimum(ratio, recipe.min_snr) / ratio).astype("float32")

    def losses(vectors: Any, latents: Any, tokens: Any, timesteps: Any, noise: Any, *mask: Any) -> Any:
        context = frozen.text_encoder.encode_with_placeholders(tokens, vectors)
        return tf.gather(weights, timesteps) * errors(context, latents, timesteps, noise, *mask)

    return losses


def squared_errors(frozen: Frozen) -> Callable[..., Any]:
    """Make the mean squared error of what is predicted for each row, (B,), in a context (B, L, D).

    With a mask (B, H/8, W/8, 1) it is the mean over what the mask shows, so that a small subject counts as much as one
    that fills the picture.
    """
    alphas, unet = alphas_cumprod(), frozen.diffusion_model

    def errors(context: Any, latents: Any, timesteps: Any, noise: Any, mask: Any = None) -> Any:
        alpha = tf.gather(alphas, timesteps)[:, None, None, None]
        signal, sigma = tf.sqrt(alpha), tf.sqrt(1.0 - alpha)
        embedded = timestep_embedding(timesteps, unet.shape.timestep_width)
        predicted = unet([signal * latents + sigma * noise, embedded, context])
        wanted = noise if unet.prediction == "epsilon" else signal * noise - sigma * latents
        squared = tf.square(predicted - wanted)
        if mask is None:
            return tf.reduce_mean(squared, axis=(1, 2, 3))
        shown = tf.reduce_mean(mask, axis=(1, 2, 3))
        return tf.reduce_mean(squared * mask, axis=(1, 2, 3)) / tf.maximum(shown, LEAST_SHOWN)

    return errors


def traced_squared_errors(frozen: Frozen, context: Any, latents: Any, *, masked: bool) -> Any:
    """Trace `squared_errors` once for any number of rows: the judge and early stopping compute the same function.

    Args:
        frozen: The base model.
        context: Of the rows, as `latents`: its shape from the second axis on is what is traced.
        latents: (B, H/8, W/8, 4).
        masked: Whether a mask is given.
    """
    shapes = (tuple(context.shape[1:]), tuple(latents.shape[1:]))
    _, of_latents = rows = [tf.TensorSpec((None, *shape), tf.float32) for shape in shapes]
    signature = [*rows, tf.TensorSpec((None,), tf.int32), of_latents]
    if masked:
        signature.append(tf.TensorSpec((None, *shapes[1][:-1], 1), tf.float32))
    return frozen.once(
        ("squared errors", *shapes, masked),
        lambda: tf.function(squared_errors(frozen), input_signature=signature, autograph=False),
    )


class Computed(NamedTuple):
    """What one step computes of a batch: its mean loss, the vectors' gradient (num_vectors, D), and whether to stop."""

    loss: Any
    gradient: Any
    stop: Any


def gradients(losses: Callable[..., Any], *, half: bool = False) -> Callable[..., tuple[Any, ...]]:
    """Make the function of a step, `(vectors, stop, *batch) -> Computed`, for `Devices.compile`.

    Args:
        losses: Of a batch's rows, see `denoising_losses`.
        half: Whether gradients pass through float16. Those of a mean over a picture's latents are smaller than it can
            hold, so the gradient is taken of about their sum, and divided again.
    """

    def compute(vectors: Any, stop: Any, *batch: Any) -> Computed:
        # A power of two changes no digit.
        scale = 2.0 ** math.floor(math.log2(batch[0].shape.num_elements())) if half else 1.0
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(vectors)
            loss = tf.reduce_mean(losses(vectors, *batch))
            scaled = loss * scale
        gradient = tf.convert_to_tensor(tape.gradient(scaled, vectors)) / scale
        return Computed(loss, gradient, stop)

    return compute
