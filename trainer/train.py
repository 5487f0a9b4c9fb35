"""Textual Inversion (Gal et al. 2022): learn the embedding of a new token, and nothing else.

The loop is `train`; everything random in a step is drawn from (seed, step), so that a resumed training takes the same
steps as one that was never interrupted.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer import checkpoint
from trainer.base_weights.presets import digest
from trainer.data.batches import Batch, draw_ahead, draw_batch
from trainer.data.latents import Latents
from trainer.devices import Devices
from trainer.early_stopping import Evaluation, settled
from trainer.models.layers import on_gpu
from trainer.objective import Computed, Frozen, denoising_losses, gradients, initial_vectors
from trainer.recipe import DEFAULT, Recipe
from trainer.training_config import Config

Array = npt.NDArray[np.float32]
Report = Callable[[dict[str, Any]], None]
CHECKPOINT_EVERY = 50
REPORT_EVERY = 20
_EXPLODED = 100.0


class TrainingFailed(RuntimeError):
    """Training went wrong in a way that a retry would repeat, for instance a loss that is not a number."""


class Interrupted(RuntimeError):
    """The training was asked to end (SIGTERM); its checkpoint is kept."""


def learning_rate(config: Config, recipe: Recipe, step: int) -> float:
    """Compute a step's rate: a cosine from the configured rate to a tenth of it, after a warm-up of 10 steps."""
    warm = min(1.0, (step + 1) / 10)
    if recipe.schedule == "constant":
        return float(config.learning_rate * warm)
    cosine = 0.5 * (1.0 + np.cos(np.pi * min(step / config.max_steps, 1.0)))
    return float(config.learning_rate * (0.1 + 0.9 * cosine) * warm)


def adam(state: checkpoint.State, gradient: Array, rate: float, betas: tuple[float, float]) -> checkpoint.State:
    """Take one step of Adam (Kingma and Ba 2015), without weight decay: only the vectors are trained."""
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
    initial: Array | None = None,
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
        initial: What the vectors start from, (num_vectors, D); None for the initializer's.
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
    start = initial_vectors(config, frozen, recipe) if initial is None else initial
    identity = _identity(latents, config, recipe, devices, start)
    state = _resume(checkpoint.load(folder, identity), start, devices)
    if why := ended(state, config):
        return state, why
    # On a CPU the first batch's views are encoded now, which goes on while the step is traced.
    batches = draw_ahead(
        lambda step: draw_batch(latents, frozen.tokenizer, config, step, recipe, devices.replicas),
        state.step,
        config.max_steps,
    )
    compute = _compile_step(latents, frozen, config, recipe, devices)
    evaluation = Evaluation(latents, frozen, config, devices, with_xla=_with_xla(recipe))
    progress = _Progress(config, recipe, report, state.step)
    longest = _longest_sane_vector(frozen)

    def save(state: checkpoint.State) -> None:
        if devices.is_chief:
            checkpoint.save(folder, state, identity)

    while not (why := ended(state, config)):
        batch = next(batches).arrays()
        stop = np.asarray(should_stop(), "float32")
        computed = Computed(*compute((state.vectors, stop), batch))
        if state.step == 0 and recipe.fallback:
            mean = initial_vectors(config, frozen, replace(recipe, initialization="mean"))
            computed_at_mean = Computed(*compute((mean, stop), batch))
            if _mean_is_better(computed, computed_at_mean, config, report):
                state, computed = replace(state, vectors=mean), computed_at_mean
        if float(computed.stop):
            save(state)
            raise Interrupted(f"stopped after step {state.step} of {config.max_steps}")
        rate = learning_rate(config, recipe, state.step)
        following = adam(state, np.asarray(computed.gradient), rate, recipe.betas)
        if problem := _problem(float(computed.loss), following.vectors, longest):
            save(state)
            raise TrainingFailed(f"{problem} at step {state.step}: try a smaller learning_rate")
        state = evaluation.when_due(following)
        if state.step % checkpoint_every == 0:
            save(state)
            at_checkpoint(state)
        progress.add(state, float(computed.loss))
    save(state)
    return state, why


def _identity(latents: Latents, config: Config, recipe: Recipe, devices: Devices, start: Array) -> str:
    """Name what a checkpoint belongs to: settings, pictures and start, but nothing that matters after the last step."""
    afterwards = {"samples": 0, "min_improvement": 0.0, "confidence": 0.0, "base": digest(config.base)}
    inputs = {
        "pictures": latents.digest,
        "replicas": devices.replicas,
        "start": hashlib.sha256(start.tobytes()).hexdigest(),
    }
    return json.dumps(asdict(config) | asdict(recipe) | afterwards | inputs, sort_keys=True)


def ended(state: checkpoint.State, config: Config) -> str | None:
    """Tell why a training has ended at this state, "max_steps" or "early"; None while it goes on."""
    if config.early_stopping and settled(state.evaluations):
        return "early"
    return "max_steps" if state.step >= config.max_steps else None


def _compile_step(
    latents: Latents, frozen: Frozen, config: Config, recipe: Recipe, devices: Devices
) -> Callable[..., tuple[Any, ...]]:
    """Compile what a step computes, `((vectors, stop), batch) -> Computed`'s fields, and trace it now; once."""
    size = config.batch_size * devices.replicas
    blank = Batch.blank(latents, frozen.tokenizer.prompt_length, size).arrays()
    vectors = np.zeros((config.num_vectors, frozen.text_encoder.shape.width), "float32")
    like = (vectors, np.zeros((), "float32"), *blank)
    key = (
        "step",
        devices if devices.replicas > 1 else None,
        recipe.min_snr,
        _with_xla(recipe),
        *(array.shape for array in like),
    )
    losses, half = denoising_losses(frozen, recipe), frozen.dtype == tf.float16
    compiled = frozen.once(key, lambda: devices.compile(gradients(losses, half=half), _with_xla(recipe), like=like))
    return cast("Callable[..., tuple[Any, ...]]", compiled)


def _with_xla(recipe: Recipe) -> bool:
    # On CPUs XLA takes longer to compile than it saves, and on big products it is slower than oneDNN.
    return on_gpu() if recipe.compile is None else recipe.compile


def _mean_is_better(computed: Computed, at_mean: Computed, config: Config, report: Report) -> bool:
    """Tell, and report, whether the first batch fits the mean of the table better than the initializer.

    An initializer that has nothing to do with the pictures fits them worse than no word at all, and its vectors can get
    lost where no gradient leads out (docs/log/2026-11-quality.md): training then starts from the mean of all words.
    """
    here, there = float(computed.loss), float(at_mean.loss)
    if here <= there:
        return False
    word, numbers = config.initializer_token, {"loss": round(here, 5), "of the mean": round(there, 5)}
    message = f"{word!r} fits these pictures less well than the mean of all words: training starts from that"
    report({"event": "initializer", "message": message, **numbers})
    return True


class _Progress:
    """Reports every few steps what they were like."""

    def __init__(self, config: Config, recipe: Recipe, report: Report, step: int) -> None:
        self._config, self._recipe, self._report = config, recipe, report
        self._started, self._first = time.monotonic(), step
        self._losses: list[float] = []

    def add(self, state: checkpoint.State, loss: float) -> None:
        """Count one step's loss; a line is due every 20 steps and after the last."""
        self._losses.append(loss)
        if state.step % REPORT_EVERY and not ended(state, self._config):
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


def _resume(stored: checkpoint.State | None, start: Array, devices: Devices) -> checkpoint.State:
    """Continue from the stored state, else begin at `start`; every host with what the chief has, whose folder it is."""
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


def _longest_sane_vector(frozen: Frozen) -> float:
    """Give the length from which on a vector counts as exploded: a multiple of the mean over the table's rows."""
    return _EXPLODED * float(tf.reduce_mean(tf.norm(tf.cast(frozen.text_encoder.table, tf.float32), axis=1)))


def _problem(loss: float, vectors: Array, limit: float) -> str | None:
    if not (np.isfinite(loss) and np.isfinite(vectors).all()):
        return f"the loss is {loss}"
    longest = float(np.max(np.linalg.norm(vectors, axis=1)))
    return f"a vector's length has grown to {longest:.4g}" if longest > limit else None
