"""Records to latents: every picture is seen by the VAE once, in a few crops and flips, and never again."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image

from trainer.base_weights import weight_reader
from trainer.data.pictures import Picture
from trainer.models import autoencoder
from trainer.training_config import Config

Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Encoder = Callable[[Any], Any]
"""Pictures (B, H, W, 3) in [-1, 1] to mean and log variance of their latents, (B, H/8, W/8, 8)."""
_SMALLEST_CROP = 0.9


class Latents:
    """The latents of all views: mean and standard deviation, scaled to unit variance, each (N, H/8, W/8, 4).

    A view may still wait for the VAE: it goes through it, alone, when a step first asks for it. On a CPU the first step
    would else wait for minutes; and alone, because then its latents do not depend on those asked for before.

    Args:
        mean: Of each view, float32 (N, H/8, W/8, 4); rows of views that wait may hold anything.
        deviation: As `mean`.
        captions: One text for each view, empty when the picture has none.
        waiting: The pixels of the views that wait, uint8 (H, W, 3), by their row.
        encoder: What encodes them.
    """

    def __init__(
        self,
        mean: Array,
        deviation: Array,
        captions: Sequence[str],
        waiting: dict[int, Pixels] | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        self.mean, self.deviation, self.captions = mean, deviation, tuple(captions)
        self._waiting, self._encoder = dict(waiting or {}), encoder
        self._lock = threading.Lock()
        content = hashlib.sha256(mean.tobytes())
        for pixels in self._waiting.values():
            content.update(pixels.tobytes())
        self.digest = content.hexdigest()
        """One sha256 for all views, the same before and after they are encoded."""

    def __len__(self) -> int:
        return len(self.captions)

    def sample(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Array:
        """Draw latents of the given views, (len(rows), H/8, W/8, 4)."""
        self.encode(rows)
        noise = rng.standard_normal((len(rows), *self.mean.shape[1:]), "float32")
        return self.mean[rows] + self.deviation[rows] * noise

    def part(self, rows: npt.NDArray[np.int64]) -> Latents:
        """Return the latents of some views."""
        self.encode(rows)
        captions = [self.captions[row] for row in rows]
        return Latents(self.mean[rows], self.deviation[rows], captions, {}, None)

    def encode(self, rows: Iterable[int] | None = None) -> None:
        """Encode those of the given views that still wait, None for all; with the last one the VAE is freed."""
        with self._lock:
            for row in sorted(self._waiting.keys() & set(range(len(self)) if rows is None else map(int, rows))):
                assert self._encoder is not None
                pixels = self._waiting.pop(row).astype("float32") / 127.5 - 1.0
                mean, log_variance = np.split(np.asarray(self._encoder(tf.constant(pixels[None])))[0], 2, axis=-1)
                self.mean[row] = mean * autoencoder.LATENT_SCALE
                self.deviation[row] = np.exp(0.5 * np.clip(log_variance, -30.0, 20.0)) * autoencoder.LATENT_SCALE
            if not self._waiting:
                self._encoder = None


def compile_encoder(image_encoder: autoencoder.ImageEncoder) -> Encoder:
    """Compile the VAE's encoder; with the last `Latents` that refers to it, its weights leave memory."""
    encoder: Encoder = tf.function(image_encoder, autograph=False)
    weakref.finalize(encoder, weight_reader.free, image_encoder.weights).atexit = False
    return encoder


def encode_views(
    found: list[Picture], encoder: Encoder, config: Config, views: int, seed: int, *, at_once: bool = True
) -> Latents:
    """Encode `views` random crops of each picture, half of them mirrored where the configuration says so.

    With `at_once` off they wait until a step asks for them.
    """
    rng = np.random.default_rng([seed, config.seed])
    side = config.resolution
    crops = [_view(picture.pixels, side, config.flips, rng) for picture in found for _ in range(views)]
    mean, deviation = (np.zeros((len(crops), side // 8, side // 8, 4), "float32") for _ in range(2))
    captions = [picture.caption for picture in found for _ in range(views)]
    latents = Latents(mean, deviation, captions, dict(enumerate(crops)), encoder)
    if at_once:
        latents.encode()
    return latents


def _view(pixels: Pixels, side: int, flips: bool, rng: np.random.Generator) -> Pixels:
    image: Any = Image.fromarray(pixels)
    crop = round(min(image.size) * rng.uniform(_SMALLEST_CROP, 1.0))
    left, top = (int(rng.integers(0, extent - crop + 1)) for extent in image.size)
    box = (left, top, left + crop, top + crop)
    image = image.resize((side, side), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    if flips and rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image)
