"""Whether a base model can draw pictures of this kind at all; found before anything is trained."""

from __future__ import annotations

import numpy as np

from trainer import evaluation
from trainer.base_weights.presets import PRESETS
from trainer.data.latents import Latents
from trainer.objective import Array, Frozen, initial_vectors
from trainer.training_config import Config

_ROWS = 16


def problem(frozen: Frozen, judged: Latents, config: Config, initial: Array | None = None) -> str | None:
    """Compare the loss of the pictures, with the best of words that were not trained, with the base model's limit.

    Args:
        frozen: The base model.
        judged: Latents, `evaluation.VIEWS` of each picture.
        config: Of the training.
        initial: What its vectors start from; None for the initializer's.

    Returns:
        Why it cannot draw such pictures, with a base model that can; None if it can.
    """
    limit = config.base.max_loss
    if limit is None:
        return None
    start = initial_vectors(config, frozen) if initial is None else initial
    contexts = evaluation.encode_prompts(frozen, config, start, initial=initial)
    # The limit is about whole pictures: of a subject alone the loss is higher.
    losses = evaluation.draw_losses(frozen, judged, contexts, _ROWS, np.random.default_rng(config.seed), masked=False)
    best = min(float(rows.mean()) for rows in losses.values())
    if best <= limit:
        return None
    others = [f"{name} draws {preset.draws}" for name, preset in PRESETS.items() if preset.max_loss is None]
    return (
        f"the base model {config.base_model} cannot draw pictures like these: it draws {config.base.draws} (their loss "
        f"is {best:.2f}, of pictures that it can draw {limit:g} at most). Choose another base_model: "
        f"{', '.join(others)}"
    )
