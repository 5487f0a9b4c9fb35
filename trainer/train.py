"""Textual Inversion (Gal et al. 2022): learn the embedding of a new token, and nothing else.

The loop is `train`; everything random in a step is drawn from (seed, step), so that a resumed training takes the same
steps as one that was never interrupted.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer import checkpoint, data, models, prompts
from trainer.config import Config
from trainer.schedule import TIMESTEPS, alphas_cumprod
from trainer.tokens import Tokenizer

Array = npt.NDArray[np.float32]
CHECKPOINT_EVERY = 50
REPORT_EVERY = 20
_EVALUATE_EVERY = 10
_EVALUATION_BATCH = 16
_BETAS = (0.9, 0.99)
_VARIANCE_RATIO = 0.15


class TrainingFailed(RuntimeError):
    """Training went wrong in a way that a retry would repeat, for instance a loss that is not a number."""


class Interrupted(RuntimeError):
    """Somebody asked the training to end; the checkpoint is kept."""


@dataclass(frozen=True)
class Frozen:
    """The parts that do not change while the vectors are trained."""

    text_encoder: keras.Model
    diffusion_model: keras.Model
    tokenizer: Tokenizer


@dataclass(frozen=True)
class Batch:
    """What one evaluation of the loss needs: latents and noise (B, H/8, W/8, 4), tokens (B, L), timesteps (B,)."""

    latents: Array
    tokens: npt.NDArray[np.int32]
    timesteps: npt.NDArray[np.int32]
    noise: Array

    def tensors(self) -> tuple[Any, ...]:
        """The four arrays as tensors, in the order of the loss's arguments."""
        return tuple(tf.constant(value) for value in (self.latents, self.tokens, self.timesteps, self.noise))


def initial_vectors(config: Config, frozen: Frozen) -> Array:
    """The initializer's row for every vector, (num_vectors, D); a word of several tokens gives their mean."""
    table = np.asarray(frozen.text_encoder.weights[0])
    ids = frozen.tokenizer.ids(config.initializer_token)
    row = table[ids].mean(axis=0)
    rng = np.random.default_rng([config.seed, 7])
    # Equal vectors would get equal gradients for ever, so all but the first start a little aside.
    aside = rng.standard_normal((config.num_vectors, row.size)) * table.std() * 0.1
    aside[0] = 0.0
    return np.asarray(row[None, :] + aside, "float32")


def denoising_losses(frozen: Frozen) -> Callable[..., Any]:
    """The loss of each row of a batch: mean squared error of the predicted noise, (B,)."""
    alphas = alphas_cumprod()

    def losses(vectors: Any, latents: Any, tokens: Any, timesteps: Any, noise: Any) -> Any:
        alpha = tf.gather(alphas, timesteps)[:, None, None, None]
        noisy = tf.sqrt(alpha) * latents + tf.sqrt(1.0 - alpha) * noise
        context = models.splice(frozen.text_encoder, tokens, vectors)
        predicted = frozen.diffusion_model([noisy, models.timestep_embedding(timesteps), context])
        return tf.reduce_mean(tf.square(tf.cast(predicted, "float32") - noise), axis=(1, 2, 3))

    return losses


def draw_batch(latents: data.Latents, frozen: Frozen, config: Config, step: int) -> Batch:
    """The batch of one step: timesteps spread evenly over the schedule, a random sentence for each picture."""
    rng = np.random.default_rng([config.noise_seed, step])
    size = config.batch_size
    rows = rng.integers(0, len(latents.mean), size)
    sentences = prompts.templates(config.learnable_property)
    words = [config.placeholder_token if not latents.captions[row] else latents.captions[row] for row in rows]
    texts = [
        word if config.placeholder_token in word and word != config.placeholder_token
        else sentences[rng.integers(len(sentences))].format(config.placeholder_token)
        for word in words
    ]  # fmt: skip
    spread = (rng.permutation(size) + rng.random(size)) / size * TIMESTEPS
    clean = latents.sample(rows, rng)
    noise = rng.standard_normal(clean.shape, "float32")
    return Batch(clean, frozen.tokenizer.rows(texts), spread.astype("int32"), noise)


def evaluation_batch(latents: data.Latents, frozen: Frozen, config: Config, size: int = 64) -> Batch:
    """A fixed batch to judge by: the same latents, timesteps, noise and sentence every time."""
    rng = np.random.default_rng([config.seed, 1_000_003])
    rows = np.resize(rng.permutation(len(latents.mean)), size)
    text = prompts.evaluation_prompt(config.learnable_property).format(config.placeholder_token)
    spread = ((np.arange(size) + 0.5) / size * TIMESTEPS).astype("int32")
    clean = latents.sample(rows, rng)
    tokens = np.repeat(frozen.tokenizer.rows([text]), size, axis=0)
    return Batch(clean, tokens, spread, rng.standard_normal(clean.shape, "float32"))


def paired_loss(losses: Callable[..., Any], vectors: Array, batch: Batch) -> float:
    """The mean loss of a fixed batch; `losses` is what `denoising_losses` returned, compiled or not."""
    return float(tf.reduce_mean(losses(tf.constant(vectors), *batch.tensors())))


def settled(evaluations: tuple[float, ...]) -> bool:
    """Whether the fixed batch's loss has stopped moving (DVAR, Voronov et al. 2023).

    It has when its variance over the last 310 steps is under 0.15 of its variance over all steps.
    """
    window = 310 // _EVALUATE_EVERY
    if len(evaluations) <= window:
        return False
    return float(np.var(evaluations[-window:])) < _VARIANCE_RATIO * float(np.var(evaluations))


def learning_rate(config: Config, step: int) -> float:
    """Cosine from the configured rate to a tenth of it, after a warm-up of 10 steps."""
    progress = step / config.max_steps
    cosine = 0.5 * (1.0 + np.cos(np.pi * min(progress, 1.0)))
    return float(config.learning_rate * (0.1 + 0.9 * cosine) * min(1.0, (step + 1) / 10))


def train(
    latents: data.Latents,
    frozen: Frozen,
    config: Config,
    folder: Path,
    report: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[checkpoint.State, str]:
    """Train the vectors, from the checkpoint in `folder` if it has one for this configuration.

    Returns:
        The last state, and why it ended: "max_steps" or "early".

    Raises:
        TrainingFailed: The loss or a vector is not finite; the last good checkpoint stays.
        Interrupted: `should_stop` said so; the checkpoint holds every step done.
    """
    # A checkpoint belongs to its settings and its pictures; how many samples are drawn afterwards does not matter.
    pictures = hashlib.sha256(latents.mean.tobytes()).hexdigest()
    identity = json.dumps({**asdict(config), "samples": 0, "pictures": pictures}, sort_keys=True)
    losses = denoising_losses(frozen)

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator,unused-ignore]
    def step_function(vectors: Any, first: Any, second: Any, index: Any, rate: Any, *batch: Any) -> tuple[Any, ...]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(vectors)
            loss = tf.reduce_mean(losses(vectors, *batch))
        gradient = tf.convert_to_tensor(tape.gradient(loss, vectors))
        # Adam (Kingma and Ba 2015), with no weight decay: the vectors are all there is to train.
        first = _BETAS[0] * first + (1.0 - _BETAS[0]) * gradient
        second = _BETAS[1] * second + (1.0 - _BETAS[1]) * tf.square(gradient)
        unbiased = first / (1.0 - _BETAS[0] ** index)
        vectors = vectors - rate * unbiased / (tf.sqrt(second / (1.0 - _BETAS[1] ** index)) + 1e-8)
        return vectors, first, second, loss

    evaluate = tf.function(losses, autograph=False)
    fixed = evaluation_batch(latents, frozen, config, _EVALUATION_BATCH).tensors()
    state = checkpoint.load(folder, identity)
    if state is None:
        start = initial_vectors(config, frozen)
        state = checkpoint.State(0, start, np.zeros_like(start), np.zeros_like(start))
    started, done_before, recent = time.monotonic(), state.step, []
    why = "max_steps"
    while state.step < config.max_steps:
        if should_stop():
            checkpoint.save(folder, state, identity)
            raise Interrupted(f"stopped after step {state.step} of {config.max_steps}")
        batch = draw_batch(latents, frozen, config, state.step).tensors()
        rate = tf.constant(learning_rate(config, state.step))
        *arrays, loss = step_function(
            tf.constant(state.vectors), tf.constant(state.first_moment), tf.constant(state.second_moment),
            tf.constant(state.step + 1.0), rate, *batch,
        )  # fmt: skip
        vectors, first, second = (array.numpy() for array in arrays)
        if not (np.isfinite(float(loss)) and np.isfinite(vectors).all()):
            checkpoint.save(folder, state, identity)
            raise TrainingFailed(f"the loss is {float(loss)} at step {state.step}: try a smaller learning_rate")
        state = checkpoint.State(state.step + 1, vectors, first, second, state.evaluations)
        recent.append(float(loss))
        if config.early_stopping and state.step % _EVALUATE_EVERY == 0:
            loss_now = float(tf.reduce_mean(evaluate(tf.constant(vectors), *fixed)))
            state = replace(state, evaluations=(*state.evaluations, loss_now))
        if state.step % CHECKPOINT_EVERY == 0:
            checkpoint.save(folder, state, identity)
        if state.step % REPORT_EVERY == 0 or state.step == config.max_steps:
            seconds = time.monotonic() - started
            report(
                {
                    "step": state.step,
                    "of": config.max_steps,
                    "loss": round(float(np.mean(recent)), 5),
                    "seconds": round(seconds, 2),
                    "steps_per_second": round((state.step - done_before) / seconds, 2),
                }
            )
            recent = []
        if config.early_stopping and settled(state.evaluations):
            why = "early"
            break
    checkpoint.save(folder, state, identity)
    return state, why
