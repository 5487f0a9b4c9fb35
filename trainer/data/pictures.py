"""The pictures of a concept as the trainer reads them from its records, and which of them are held out."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image

from trainer.data import records
from trainer.data.held_out import alike_groups, held_out_count
from trainer.data.perceptual_hash import Look
from trainer.training_config import Config, ConfigError

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """One decoded record.

    Attributes:
        pixels: uint8 (height, width, 3).
        caption: Empty when it has none.
        file: Its path in the images folder.
        mask: Where the loss counts, uint8 (height, width), 255 for all of it; None for everywhere.
    """

    pixels: Pixels
    caption: str
    file: str = ""
    mask: Pixels | None = None


def read_pictures(folder: Path) -> list[Picture]:
    """Read all records in their stored order. Raises ConfigError when there are none or one is damaged."""
    try:
        found = [
            Picture(
                row[records.PIXELS],
                row[records.CAPTION].decode(),
                row[records.FILE].decode(),
                _decode(row[records.MASK]),
            )
            for row in records.read(folder).as_numpy_iterator()
        ]
    except (FileNotFoundError, tf.errors.OpError) as error:
        raise ConfigError(f"--records {folder} cannot be read: {error}") from error
    if not found:
        raise ConfigError(f"--records {folder} holds no pictures")
    return found


def check_masks(found: list[Picture], config: Config) -> None:
    """Refuse pictures without any mask where the configuration asks for masks.

    Raises:
        ConfigError: None has one.
    """
    if config.mask is not None and all(picture.mask is None for picture in found):
        raise ConfigError(
            f"training.mask is {config.mask}, and no picture of the records has a mask: make them again with "
            f"`python -m tasks.records --mask {config.mask}`, or take training.mask away"
        )


def _decode(png: bytes) -> Pixels | None:
    if not png:
        return None
    with Image.open(io.BytesIO(png)) as mask:
        return np.asarray(mask.convert("L"))


def split_held_out(found: list[Picture], config: Config) -> tuple[list[Picture], list[Picture]]:
    """Choose the pictures to train on and those held out, each in their stored order.

    Of pictures that look the same none is held out, because the token would be judged on what it was trained on, and
    together they count as one (`held_out_count`). The choice goes by content, so that pictures that are added later
    mostly leave it as it was.
    """
    groups = alike_groups([Look.of(Image.fromarray(picture.pixels)) for picture in found])
    sizes = Counter(groups)
    single = [index for index, group in enumerate(groups) if sizes[group] == 1]
    single.sort(key=lambda index: hashlib.sha256(b"%d " % config.seed + found[index].pixels.tobytes()).digest())
    chosen = set(single[: held_out_count(len(sizes), config.held_out)])
    kept = [picture for index, picture in enumerate(found) if index not in chosen]
    return kept, [picture for index, picture in enumerate(found) if index in chosen]
