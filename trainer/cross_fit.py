"""Trainings of two pictures, of which none can be held out: each is judged by a short training on the other one.

What is judged is then the concept and its settings, not the published vectors: whether a token that is learned from one
picture fits the other. On `tiny` that tells trained from untrained as well as two held-out pictures do
(docs/log/2026-11-quality.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from trainer import train
from trainer.data.held_out import alike_groups
from trainer.data.latents import Latents
from trainer.data.perceptual_hash import Look
from trainer.data.pictures import Picture
from trainer.devices import Devices
from trainer.objective import Array, Frozen
from trainer.training_config import Config

SHARE = 0.2
"""Steps of a short training, as a share of the training's: with half of it a third of the verdicts stay open."""


def groups_to_leave_out(training: Sequence[Picture], config: Config) -> list[int] | None:
    """Number the groups of pictures that are left out in turn, one number for each picture; None without such groups.

    There are two, because of three different pictures one is held out; none if concept.yaml wants nothing held out.
    """
    if config.held_out == 0:
        return None
    groups = alike_groups([Look.of(Image.fromarray(picture.pixels)) for picture in training])
    return groups if len(set(groups)) == 2 else None


def cross_fit(
    groups: Sequence[int],
    latents: Latents,
    frozen: Frozen,
    config: Config,
    folder: Path,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    initial: Array | None = None,
    devices: Devices | None = None,
) -> Array:
    """Train once without each group, and return for each picture what was learned without it: (pictures, V, D).

    Args:
        groups: Of the pictures, as `groups_to_leave_out` numbers them.
        latents: Of all pictures, equally many views of each.
        frozen: The base model.
        config: Of the training.
        folder: Of the checkpoints.
        should_stop: Asked before every step.
        initial: What the vectors start from; None for the initializer's.
        devices: On which replicas; None for this process alone.

    Raises:
        TrainingFailed, Interrupted: As `train.train`.
    """
    short = replace(config, max_steps=max(1, round(SHARE * config.max_steps)), early_stopping=False)
    views = len(latents) // len(groups)
    found: dict[int, Array] = {}
    for group in dict.fromkeys(groups):
        others = np.flatnonzero(np.repeat(np.asarray(groups) != group, views))
        state, _ = train.train(
            latents.part(others),
            frozen,
            short,
            folder / f"without-{group}",
            lambda _line: None,
            should_stop,
            initial=initial,
            devices=devices,
        )
        found[group] = state.vectors
    return np.stack([found[group] for group in groups])
