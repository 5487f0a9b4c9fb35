"""The loss of one fixed batch, which early stopping watches, and when it counts as settled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.checkpoint import State
from trainer.data.batches import evaluation_batch
from trainer.data.latents import Latents
from trainer.devices import Devices
from trainer.objective import Frozen, denoising_losses, traced_squared_errors
from trainer.training_config import Config

_EVALUATE_EVERY = 10
_EVALUATION_BATCH = 16
_VARIANCE_RATIO = 0.15
Mean = Callable[[Sequence[Any], Sequence[Any]], tuple[Any, ...]]


def settled(evaluations: tuple[float, ...]) -> bool:
    """Tell whether the fixed batch's loss has stopped moving (DVAR, Voronov et al. 2023).

    It has when its variance over the last 310 steps is under 0.15 of its variance over all steps.
    """
    window = 310 // _EVALUATE_EVERY
    if len(evaluations) <= window:
        return False
    return float(np.var(evaluations[-window:])) < _VARIANCE_RATIO * float(np.var(evaluations))


class Evaluation:
    """The mean loss of the fixed batch, without a recipe's weights."""

    def __init__(self, latents: Latents, frozen: Frozen, config: Config, devices: Devices, *, with_xla: bool) -> None:
        self._wanted = config.early_stopping
        size = -(-_EVALUATION_BATCH // devices.replicas) * devices.replicas
        if devices.replicas == 1 and not with_xla:
            self._mean = _mean_as_judged(frozen)
        else:
            key = ("evaluation", devices if devices.replicas > 1 else None, with_xla, size, config.num_vectors)
            self._mean = frozen.once((*key, config.mask), lambda: _mean_on_devices(frozen, devices, with_xla))
        # Drawn when it is first needed, since its views may still have to be encoded.
        self._batch = cache(lambda: evaluation_batch(latents, frozen.tokenizer, config, size).arrays())

    def when_due(self, state: State) -> State:
        """Add the mean loss to the state's evaluations, every few steps and only where early stopping is wanted."""
        if not self._wanted or state.step % _EVALUATE_EVERY:
            return state
        loss = float(self._mean((state.vectors,), self._batch())[0])
        return replace(state, evaluations=(*state.evaluations, loss))


def _mean_on_devices(frozen: Frozen, devices: Devices, with_xla: bool) -> Mean:
    losses = denoising_losses(frozen)
    return devices.compile(lambda vectors, *batch: (tf.reduce_mean(losses(vectors, *batch)),), with_xla)


def _mean_as_judged(frozen: Frozen) -> Mean:
    """Make the mean loss of a batch out of the function that the judge calls later, which is then traced already."""
    encode = frozen.once("encode", lambda: tf.function(frozen.text_encoder.encode_with_placeholders, autograph=False))

    def mean(shared: Sequence[Any], batch: Sequence[Any]) -> tuple[Any, ...]:
        latents, tokens, timesteps, noise, *mask = map(tf.constant, batch)
        context = encode(tokens, tf.constant(shared[0]))
        errors = traced_squared_errors(frozen, context, latents, masked=bool(mask))
        return (tf.reduce_mean(errors(context, latents, timesteps, noise, *mask)),)

    return mean
