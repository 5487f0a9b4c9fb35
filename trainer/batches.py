"""What a training step and an evaluation see: noisy latents, prompts, and the loss of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer import data, parts, prompts
from trainer.config import Config
from trainer.recipe import DEFAULT, Recipe
from trainer.schedule import TIMESTEPS, alphas_cumprod
from trainer.tokens import Tokenizer

Array = npt.NDArray[np.float32]
_ROWS_AT_ONCE = 8


@dataclass(frozen=True)
class Frozen:
    """The parts that do not change while the vectors are trained."""

    text_encoder: parts.TextEncoder
    diffusion_model: parts.DiffusionModel
    tokenizer: Tokenizer


@dataclass(frozen=True)
class Batch:
    """What one evaluation of the loss needs: latents and noise (B, H/8, W/8, 4), tokens (B, L), timesteps (B,)."""

    latents: Array
    tokens: npt.NDArray[np.int32]
    timesteps: npt.NDArray[np.int32]
    noise: Array

    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """The four arrays in the order of the loss's arguments."""
        return self.latents, self.tokens, self.timesteps, self.noise

    @classmethod
    def blank(cls, latents: data.Latents, frozen: Frozen, size: int) -> Batch:
        """Zeros, in the shapes of a batch of `size` rows."""
        shape = (size, *latents.mean.shape[1:])
        tokens = np.zeros((size, frozen.tokenizer.prompt_length), "int32")
        return cls(np.zeros(shape, "float32"), tokens, np.zeros(size, "int32"), np.zeros(shape, "float32"))


def initial_vectors(config: Config, frozen: Frozen, recipe: Recipe = DEFAULT) -> Array:
    """What the vectors start from, (num_vectors, D).

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
        output = np.asarray(frozen.text_encoder.splice(tokens, nothing))[0, 1 : 1 + len(ids)].mean(axis=0)
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


def denoising_losses(frozen: Frozen, recipe: Recipe = DEFAULT) -> Callable[..., Any]:
    """The loss of each row of a batch: mean squared error of the predicted noise, weighted as the recipe says, (B,)."""
    alphas = alphas_cumprod()
    weights = np.ones_like(alphas)
    if recipe.min_snr:
        ratio = alphas / (1.0 - alphas)
        weights = (np.minimum(ratio, recipe.min_snr) / ratio).astype("float32")

    def losses(vectors: Any, latents: Any, tokens: Any, timesteps: Any, noise: Any) -> Any:
        alpha = tf.gather(alphas, timesteps)[:, None, None, None]
        noisy = tf.sqrt(alpha) * latents + tf.sqrt(1.0 - alpha) * noise
        context = frozen.text_encoder.splice(tokens, vectors)
        predicted = frozen.diffusion_model([noisy, parts.timestep_embedding(timesteps), context])
        return tf.gather(weights, timesteps) * tf.reduce_mean(tf.square(predicted - noise), axis=(1, 2, 3))

    return losses


def draw_batch(
    latents: data.Latents, frozen: Frozen, config: Config, step: int, recipe: Recipe = DEFAULT, replicas: int = 1
) -> Batch:
    """The batch of one step, `batch_size` rows for each replica: timesteps over the schedule, random sentences."""
    rng = np.random.default_rng([config.noise_seed, step])
    size = config.batch_size * replicas
    rows = rng.integers(0, len(latents), size)
    sentences = prompts.templates(config.learnable_property, config.templates)
    texts = [
        prompts.captioned(sentences[rng.integers(len(sentences))], latents.captions[row], config.placeholder_token)
        for row in rows
    ]
    part = (rng.permutation(size) + rng.random(size)) / size if recipe.timesteps == "spread" else rng.random(size)
    clean = latents.sample(rows, rng)
    noise = rng.standard_normal(clean.shape, "float32")
    return Batch(clean, frozen.tokenizer.rows(texts), (part * TIMESTEPS).astype("int32"), noise)


def draw_ahead(draw: Callable[[int], Batch], first: int, end: int) -> Iterator[Batch]:
    """The batches of steps `first` to `end` - 1, each drawn while something else runs: tracing, or the step before."""
    pool = ThreadPoolExecutor(1)
    begun = pool.submit(draw, first)

    def batches(following: Future[Batch]) -> Iterator[Batch]:
        try:
            for step in range(first, end):
                batch = following.result()
                if step + 1 < end:
                    following = pool.submit(draw, step + 1)
                yield batch
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    return batches(begun)


def evaluation_batch(latents: data.Latents, frozen: Frozen, config: Config, size: int = 64) -> Batch:
    """A fixed batch to judge by: the same latents, timesteps, noise and sentence every time."""
    rng = np.random.default_rng([config.seed, 1_000_003])
    rows = np.resize(rng.permutation(len(latents)), size)
    text = prompts.evaluation_prompt(config.learnable_property).format(config.placeholder_token)
    spread = ((np.arange(size) + 0.5) / size * TIMESTEPS).astype("int32")
    clean = latents.sample(rows, rng)
    tokens = np.repeat(frozen.tokenizer.rows([text]), size, axis=0)
    return Batch(clean, tokens, spread, rng.standard_normal(clean.shape, "float32"))


def paired_loss(losses: Callable[..., Any], vectors: Array, batch: Batch) -> float:
    """The mean loss of a fixed batch; `losses` is what `denoising_losses` returned, compiled or not."""
    # A few rows at a time: at full size 64 at once take 3 GB more than training does.
    parts = zip(*(np.array_split(array, -(-len(array) // _ROWS_AT_ONCE)) for array in batch.arrays()), strict=True)
    found = [np.asarray(losses(tf.constant(vectors), *map(tf.constant, part))) for part in parts]
    return float(np.concatenate(found).mean(dtype="float64"))
