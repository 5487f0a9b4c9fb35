"""Records to latents: every picture is seen by the VAE once, in a few crops and flips, and never again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image

from trainer import models, records
from trainer.config import Config, ConfigError
from trainer.presets import PRESETS

Array = npt.NDArray[np.float32]
_SMALLEST_CROP = 0.9


@dataclass(frozen=True)
class Latents:
    """Mean and standard deviation of the latents of all views, scaled to unit variance: each (N, H/8, W/8, 4).

    `captions` has one text for each view, empty when the picture has none.
    """

    mean: Array
    deviation: Array
    captions: tuple[str, ...]

    def sample(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Array:
        """Draw latents of the given views, (len(rows), H/8, W/8, 4)."""
        noise = rng.standard_normal((len(rows), *self.mean.shape[1:]), "float32")
        return self.mean[rows] + self.deviation[rows] * noise


@dataclass(frozen=True)
class Picture:
    """One decoded record: uint8 (height, width, 3) pixels, and its caption."""

    pixels: npt.NDArray[np.uint8]
    caption: str


def pictures(folder: Path) -> list[Picture]:
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


def split(found: list[Picture], config: Config) -> tuple[list[Picture], list[Picture]]:
    """Choose the pictures to train on and those held out; at least two are left to train on if there are as many."""
    held_out = max(0, min(config.held_out, len(found) - 2))
    order = np.random.default_rng(config.seed).permutation(len(found))
    return [found[i] for i in sorted(order[held_out:])], [found[i] for i in sorted(order[:held_out])]


def encode(found: list[Picture], encoder: keras.Model, config: Config, views: int, seed: int) -> Latents:
    """Encode `views` random crops of each picture, half of them mirrored if the base model takes that."""
    rng = np.random.default_rng([seed, config.seed])
    side = config.resolution
    flips = PRESETS[config.base_model].flips
    crops = [_view(picture.pixels, side, flips, rng) for picture in found for _ in range(views)]
    run = tf.function(encoder, reduce_retracing=True, autograph=False)
    moments = []
    for start in range(0, len(crops), 8):
        batch = np.stack(crops[start : start + 8]).astype("float32") / 127.5 - 1.0
        moments.append(run(tf.constant(batch)).numpy())
    mean, log_variance = np.split(np.concatenate(moments), 2, axis=-1)
    deviation = np.exp(0.5 * np.clip(log_variance, -30.0, 20.0))
    captions = tuple(picture.caption for picture in found for _ in range(views))
    scaled = [np.asarray(part * models.LATENT_SCALE, "float32") for part in (mean, deviation)]
    return Latents(scaled[0], scaled[1], captions)


def _view(pixels: npt.NDArray[np.uint8], side: int, flips: bool, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    image: Any = Image.fromarray(pixels)
    crop = round(min(image.size) * rng.uniform(_SMALLEST_CROP, 1.0))
    left, top = (int(rng.integers(0, extent - crop + 1)) for extent in image.size)
    box = (left, top, left + crop, top + crop)
    image = image.resize((side, side), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    if flips and rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image)
