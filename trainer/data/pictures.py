"""The pictures of a concept as the trainer reads them from its records, and which of them are held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.data import records
from trainer.training_config import Config, ConfigError

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """One decoded record: uint8 (height, width, 3) pixels, and its caption."""

    pixels: Pixels
    caption: str


def read_pictures(folder: Path) -> list[Picture]:
    """Read all records in their stored order. Raises ConfigError when there are none or one is damaged."""
    try:
        found = [
            Picture(row[records.PIXELS], row[records.CAPTION].decode())
            for row in records.read(folder).as_numpy_iterator()
        ]
    except (FileNotFoundError, tf.errors.OpError) as error:
        raise ConfigError(f"--records {folder} cannot be read: {error}") from error
    if not found:
        raise ConfigError(f"--records {folder} holds no pictures")
    return found


def split_held_out(found: list[Picture], config: Config) -> tuple[list[Picture], list[Picture]]:
    """Choose the pictures to train on and those held out; at least two are left to train on if there are as many."""
    held_out = max(0, min(config.held_out, len(found) - 2))
    order = np.random.default_rng(config.seed).permutation(len(found))
    return [found[i] for i in sorted(order[held_out:])], [found[i] for i in sorted(order[:held_out])]
