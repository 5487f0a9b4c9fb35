"""Held-out loss of what was learned, beside that of what needs no training: what the gate judges by."""

from __future__ import annotations

import tensorflow as tf

from trainer.data.batches import evaluation_batch
from trainer.data.latents import Latents
from trainer.metrics import Losses
from trainer.objective import Array, Frozen, denoising_losses, initial_vectors, paired_loss
from trainer.training_config import Config

VIEWS = 4
"""Random crops of each judged picture."""


def evaluate(frozen: Frozen, judged: Latents, config: Config, learned: Array, on: str) -> Losses:
    """Compute the mean loss of one fixed batch with the initializer's vectors and with the learned ones.

    Args:
        frozen: The base model.
        judged: Latents of the pictures to judge by.
        config: Of the training; its seed draws the batch's views, timesteps and noise.
        learned: Vectors (num_vectors, D), float32.
        on: Which pictures they are, in words.
    """
    if "losses" not in frozen.compiled:
        frozen.compiled["losses"] = tf.function(denoising_losses(frozen), autograph=False)
    losses, batch = frozen.compiled["losses"], evaluation_batch(judged, frozen.tokenizer, config)
    before, after = (paired_loss(losses, vectors, batch) for vectors in (initial_vectors(config, frozen), learned))
    return Losses(
        initializer=round(before, 6), trained=round(after, 6), improvement=round(1.0 - after / before, 4), on=on
    )
