"""Whether a base model can draw pictures of this kind at all, said before anything is trained."""

from __future__ import annotations

import numpy as np

from trainer import evaluation
from trainer.base_weights.presets import PRESETS
from trainer.data.latents import Latents
from trainer.objective import Frozen, initial_vectors
from trainer.training_config import Config, ConfigError

_ROWS = 16


def check(frozen: Frozen, judged: Latents, config: Config) -> None:
    """Compare the loss of the pictures, with the best of words that were not trained, with the base model's limit.

    Args:
        frozen: The base model.
        judged: Latents, `evaluation.VIEWS` of each picture.
        config: Of the training.

    Raises:
        ConfigError: It cannot draw such pictures; the message names a base model that can.
    """
    limit = PRESETS[config.base_model].max_loss
    if limit is None:
        return
    contexts = evaluation.encode_prompts(frozen, config, initial_vectors(config, frozen))
    losses = evaluation.draw_losses(frozen, judged, contexts, _ROWS, np.random.default_rng(config.seed))
    best = min(float(rows.mean()) for rows in losses.values())
    if best > limit:
        others = [f"{name} draws {preset.draws}" for name, preset in PRESETS.items() if preset.max_loss is None]
        raise ConfigError(
            f"the base model {config.base_model} cannot draw pictures like these: it draws "
            f"{PRESETS[config.base_model].draws} (their loss is {best:.2f}, of pictures that it can draw {limit:g} at "
            f"most). Choose another base_model: {', '.join(others)}"
        )
