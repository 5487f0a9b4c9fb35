"""Textual Inversion (Gal et al. 2022): learn the embedding of a new token, and nothing else.

The loop is `train`; everything random in a step is drawn from (seed, step), so that a resumed training takes the same
steps as one that was never interrupted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer import checkpoint
from trainer.config import Config
from trainer.data.batches import Batch, draw_ahead, draw_batch, evaluation_batch
from trainer.data.latents import Latents
from trainer.devices import Devices
from trainer.models.layers import on_gpu
from trainer.objective import Frozen, denoising_losses, initial_vectors, paired_loss
from trainer.recipe import DEFAULT, Recipe

__all__ = [
    "Batch", "Frozen", "Interrupted", "TrainingFailed", "denoising_losses", "draw_batch", "evaluation_batch",
    "initial_vectors", "paired_loss", "train",
]  # fmt: skip

Array = npt.NDArray[np.float32]
Report = Callable[[dict[str, Any]], None]
CHECKPOINT_EVERY = 50
REPORT_EVERY = 20
_EVALUATE_EVERY = 10
_EVALUATION_BATCH = 16
_VARIANCE_RATIO = 0.15
_EXPLODED = 100.0


class TrainingFailed(RuntimeError):
    """Training went wrong in a way that a retry would repeat, for instance a loss that is not a number."""


class Interrupted(RuntimeError):
    """Somebody asked the training to end; the checkpoint is kept."""


def settled(evaluations: tuple[float, ...]) -> bool:
    """Whether the fixed batch's loss has stopped moving (DVAR, Voronov et al. 2023).

    It has when its variance over the last 310 steps is under 0.15 of its variance over all steps.
    """
    window = 310 // _EVALUATE_EVERY
    if len(evaluations) <= window:
        return False
    return float(np.var(evaluations[-window:])) < _VARIANCE_RATIO * float(np.var(evaluations))


def learning_rate(config: Config, recipe: Recipe, step: int) -> float:
    """Cosine from the configured rate to a tenth of it, after a warm-up of 10 steps."""
    warm = min(1.0, (step + 1) / 10)
    if recipe.schedule == "constant":
        return float(config.learning_rate * warm)
    cosine = 0.5 * (1.0 + np.cos(np.pi * min(step / config.max_steps, 1.0)))
    return float(config.learning_rate * (0.1 + 0.9 * cosine) * warm)


def adam(state: checkpoint.State, gradient: Array, rate: float, betas: tuple[float, float]) -> checkpoint.State:
    """One step of Adam (Kingma and Ba 2015), with no weight decay: the vectors are all there is to train."""
    step = state.step + 1
    first = np.asarray(betas[0] * state.first_moment + (1.0 - betas[0]) * gradient, "float32")
    second = np.asarray(betas[1] * state.second_moment + (1.0 - betas[1]) * np.square(gradient), "float32")
    change = first / (1.0 - betas[0] ** step) / (np.sqrt(second / (1.0 - betas[1] ** step)) + 1e-8)
    vectors = np.asarray(state.vectors - rate * change, "float32")
    return replace(state, step=step, vectors=vectors, first_moment=first, second_moment=second)


def train(
    latents: Latents,
    frozen: Frozen,
    config: Config,
    folder: Path,
    report: Report,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    recipe: Recipe = DEFAULT,
    devices: Devices | None = None,
    at_checkpoint: Callable[[checkpoint.State], None] = lambda _state: None,
    checkpoint_every: int = CHECKPOINT_EVERY,
) -> tuple[checkpoint.State, str]:
    """Train the vectors, from the checkpoint in `folder` if it has one for this configuration.

    Args:
        latents: Of the pictures to train on.
        frozen: The base model.
        config: How to train.
        folder: Of the checkpoints; only the chief writes.
        report: Called with a line of progress.
        should_stop: Asked before every step.
        recipe: How the loss is formed and minimized.
        devices: On which replicas; None for this process alone.
        at_checkpoint: Called after a checkpoint is written.
        checkpoint_every: Steps from one to the next.

    Returns:
        The last state, and why it ended: "max_steps" or "early".

    Raises:
        TrainingFailed: The loss or a vector is not finite, or a vector has exploded; the last good checkpoint stays.
        Interrupted: `should_stop` said so; the checkpoint holds every step done.
    """
    devices = devices or Devices()
    identity = _identity(latents, config, recipe, devices)
    state = _begin(checkpoint.load(folder, identity), initial_vectors(config, frozen, recipe), devices)
    if why := _ended(state, config):
        return state, why
    # On CPUs XLA takes longer to compile than it saves, and on big products it is slower than oneDNN.
    compiled = on_gpu() if recipe.compile is None else recipe.compile
    # On a CPU the first batch's views are encoded now, which goes on while the step is traced.
    batches = draw_ahead(
        lambda step: draw_batch(latents, frozen.tokenizer, config, step, recipe, devices.replicas),
        state.step,
        config.max_steps,
    )
    blank = Batch.blank(latents, frozen.tokenizer.prompt_length, config.batch_size * devices.replicas)
    shared = state.vectors, np.zeros((), "float32")
    take = devices.compile(gradients(denoising_losses(frozen, recipe)), compiled, like=(*shared, *blank.arrays()))
    evaluation = _Evaluation(latents, frozen, config, devices, compiled)
    limit = _EXPLODED * float(tf.reduce_mean(tf.norm(tf.cast(frozen.text_encoder.table, tf.float32), axis=1)))
    better_start = _better_start(take, config, frozen, recipe, report)
    progress = _Progress(config, recipe, report, state.step)

    def save() -> None:
        if devices.is_chief:
            checkpoint.save(folder, state, identity)

    while not (why := _ended(state, config)):
        batch = next(batches).arrays()
        asked = np.asarray(should_stop(), "float32")
        outcome = take((state.vectors, asked), batch)
        if state.step == 0:
            state, outcome = better_start(state, outcome, asked, batch)
        loss, gradient, stop = outcome
        if float(stop):
            save()
            raise Interrupted(f"stopped after step {state.step} of {config.max_steps}")
        following = adam(state, np.asarray(gradient), learning_rate(config, recipe, state.step), recipe.betas)
        problem = _problem(float(loss), following.vectors, limit)
        if problem:
            save()
            raise TrainingFailed(f"{problem} at step {state.step}: try a smaller learning_rate")
        state = following
        if state.step % _EVALUATE_EVERY == 0 and config.early_stopping:
            state = replace(state, evaluations=(*state.evaluations, evaluation.loss(state.vectors)))
        if state.step % checkpoint_every == 0:
            save()
            at_checkpoint(state)
        progress.add(state, float(loss))
    save()
    return state, why


def _identity(latents: Latents, config: Config, recipe: Recipe, devices: Devices) -> str:
    """What a checkpoint belongs to: its settings and its pictures, but not how many samples are drawn afterwards."""
    pictures = {"samples": 0, "pictures": latents.digest, "replicas": devices.replicas}
    return json.dumps(asdict(config) | asdict(recipe) | pictures, sort_keys=True)


def _ended(state: checkpoint.State, config: Config) -> str | None:
    if config.early_stopping and settled(state.evaluations):
        return "early"
    return "max_steps" if state.step >= config.max_steps else None


def _better_start(
    take: Callable[..., Any], config: Config, frozen: Frozen, recipe: Recipe, report: Report
) -> Callable[..., tuple[checkpoint.State, Any]]:
    """Chooses what to start from: (state, what `take` gave for it, ...) -> the better state, what `take` gave for it.

    An initializer that has nothing to do with the pictures fits them worse than no word at all, and its vectors can get
    lost where no gradient leads out (docs/log.md): training then starts from the mean of all words.
    """

    def choose(state: checkpoint.State, outcome: Any, asked: Array, batch: Any) -> tuple[checkpoint.State, Any]:
        middle = initial_vectors(config, frozen, replace(recipe, initialization="mean"))
        other = take((middle, asked), batch) if recipe.fallback else outcome
        here, there = float(outcome[0]), float(other[0])
        if here <= there:
            return state, outcome
        word, numbers = config.initializer_token, {"loss": round(here, 5), "of the mean": round(there, 5)}
        message = f"{word!r} fits these pictures less well than the mean of all words: training starts from that"
        report({"event": "initializer", "message": message, **numbers})
        return replace(state, vectors=middle), other

    return choose


class _Evaluation:
    """The loss of one fixed batch, without the recipe's weights."""

    def __init__(self, latents: Latents, frozen: Frozen, config: Config, devices: Devices, compiled: bool) -> None:
        losses = denoising_losses(frozen)
        self._mean = devices.compile(lambda vectors, *batch: (tf.reduce_mean(losses(vectors, *batch)),), compiled)
        size = -(-_EVALUATION_BATCH // devices.replicas) * devices.replicas
        # Made when it is first needed, since views that it asks for may still have to be encoded.
        self._batch = cache(lambda: evaluation_batch(latents, frozen.tokenizer, config, size).arrays())

    def loss(self, vectors: Array) -> float:
        """The mean over the batch."""
        return float(self._mean((vectors,), self._batch())[0])


class _Progress:
    """Reports every few steps what they were like."""

    def __init__(self, config: Config, recipe: Recipe, report: Report, step: int) -> None:
        self._config, self._recipe, self._report = config, recipe, report
        self._started, self._first = time.monotonic(), step
        self._losses: list[float] = []

    def add(self, state: checkpoint.State, loss: float) -> None:
        """Count one step's loss; a line is due every 20 steps and after the last."""
        self._losses.append(loss)
        if state.step % REPORT_EVERY and not _ended(state, self._config):
            return
        seconds = time.monotonic() - self._started
        self._report(
            {
                "step": state.step,
                "of": self._config.max_steps,
                "loss": round(float(np.mean(self._losses)), 5),
                "evaluation": round(state.evaluations[-1], 5) if state.evaluations else None,
                "learning_rate": round(learning_rate(self._config, self._recipe, state.step), 8),
                "norm": round(float(np.linalg.norm(state.vectors, axis=1).mean()), 4),
                "seconds": round(seconds, 2),
                "steps_per_second": round((state.step - self._first) / seconds, 2),
            }
        )
        self._losses = []


def gradients(losses: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    """What one step computes: `(vectors, stop, *batch) -> (loss, gradient, stop)`, for `Devices.compile`."""

    def compute(vectors: Any, stop: Any, *batch: Any) -> tuple[Any, ...]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(vectors)
            loss = tf.reduce_mean(losses(vectors, *batch))
        return loss, tf.convert_to_tensor(tape.gradient(loss, vectors)), stop

    return compute


def _begin(stored: checkpoint.State | None, start: Array, devices: Devices) -> checkpoint.State:
    """The chief's state, on every host: only the chief may see its checkpoints."""
    state = stored or checkpoint.State(0, start, np.zeros_like(start), np.zeros_like(start))
    if devices.hosts == 1:
        return state
    share = float(devices.is_chief)
    step, count = devices.sum(np.asarray([state.step, len(state.evaluations)], "float64") * share).astype(int)
    numbers = np.zeros(3 * start.size + count)
    if devices.is_chief:
        arrays = (state.vectors, state.first_moment, state.second_moment, np.asarray(state.evaluations))
        numbers = np.concatenate([array.ravel() for array in arrays])
    numbers = devices.sum(np.asarray(numbers, "float64"))
    vectors, first, second = numbers[: 3 * start.size].reshape(3, *start.shape).astype("float32")
    return checkpoint.State(int(step), vectors, first, second, tuple(numbers[3 * start.size :].tolist()))


def _problem(loss: float, vectors: Array, limit: float) -> str | None:
    if not (np.isfinite(loss) and np.isfinite(vectors).all()):
        return f"the loss is {loss}"
    longest = float(np.max(np.linalg.norm(vectors, axis=1)))
    return f"a vector's length has grown to {longest:.4g}" if longest > limit else None
