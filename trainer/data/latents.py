"""Records to latents: every picture is seen by the VAE once, in a few crops and flips, and never again."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image

from trainer.base_weights import weight_reader
from trainer.data.pictures import Picture
from trainer.models import autoencoder, shapes
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
        mask: Where the loss of each view counts, float32 (N, H/8, W/8, 1) from 0 to 1; None for everywhere.
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
        *,
        mask: Array | None = None,
    ) -> None:
        self.mean, self.deviation, self.captions, self.mask = mean, deviation, tuple(captions), mask
        self._waiting, self._encoder = dict(waiting or {}), encoder
        self._lock = threading.Lock()
        content = hashlib.sha256(mean.tobytes())
        for pixels in self._waiting.values():
            content.update(pixels.tobytes())
        if mask is not None:
            content.update(mask.tobytes())
        self.digest = content.hexdigest()
        """One sha256 for all views, the same before and after they are encoded."""

    def __len__(self) -> int:
        return len(self.captions)

    def sample(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Array:
        """Draw latents of the given views, (len(rows), H/8, W/8, 4)."""
        self.encode(rows)
        noise = rng.standard_normal((len(rows), *self.mean.shape[1:]), "float32")
        return self.mean[rows] + self.deviation[rows] * noise

    def masks(self, rows: npt.NDArray[np.int64]) -> Array | None:
        """Return where the loss of the given views counts, (len(rows), H/8, W/8, 1); None for everywhere."""
        return None if self.mask is None else self.mask[rows]

    def part(self, rows: npt.NDArray[np.int64]) -> Latents:
        """Return the latents of some views."""
        self.encode(rows)
        captions = [self.captions[row] for row in rows]
        return Latents(self.mean[rows], self.deviation[rows], captions, mask=self.masks(rows))

    def encode(self, rows: Iterable[int] | None = None) -> None:
        """Encode those of the given views that still wait, None for all; with the last one the VAE is freed."""
        with self._lock:
            for row in sorted(self._waiting.keys() & set(range(len(self)) if rows is None else map(int, rows))):
                assert self._encoder is not None
                pixels = self._waiting.pop(row).astype("float32") / 127.5 - 1.0
                mean, log_variance = np.split(np.asarray(self._encoder(tf.constant(pixels[None])))[0], 2, axis=-1)
                self.mean[row] = mean * shapes.LATENT_SCALE
                self.deviation[row] = np.exp(0.5 * np.clip(log_variance, -30.0, 20.0)) * shapes.LATENT_SCALE
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

    Masks are cropped and mirrored with their pictures, where the configuration asks for them. With `at_once` off the
    views wait until a step asks for them.
    """
    rng = np.random.default_rng([seed, config.seed])
    side = config.resolution
    chosen = [(picture, _choose(picture.pixels, config.flips, rng)) for picture in found for _ in range(views)]
    crops = [view.of(picture.pixels, side) for picture, view in chosen]
    masks = (
        None
        if config.mask is None or not chosen
        else np.stack([_mask(picture, view, side) for picture, view in chosen])
    )
    mean, deviation = (np.zeros((len(crops), side // 8, side // 8, 4), "float32") for _ in range(2))
    captions = [picture.caption for picture in found for _ in range(views)]
    latents = Latents(mean, deviation, captions, dict(enumerate(crops)), encoder, mask=masks)
    if at_once:
        latents.encode()
    return latents


@dataclass(frozen=True)
class _View:
    """A square crop of a picture, left, top, right and bottom in pixels, and whether it is mirrored."""

    box: tuple[int, int, int, int]
    mirrored: bool

    def of(self, pixels: Pixels, side: int) -> Pixels:
        """Cut it out of a picture, or of its mask, and resize it to (side, side)."""
        image: Any = Image.fromarray(pixels)
        image = image.resize((side, side), Image.Resampling.LANCZOS, box=self.box, reducing_gap=3.0)
        if self.mirrored:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(image)


def _choose(pixels: Pixels, flips: bool, rng: np.random.Generator) -> _View:
    height, width = pixels.shape[:2]
    crop = round(min(width, height) * rng.uniform(_SMALLEST_CROP, 1.0))
    left, top = (int(rng.integers(0, extent - crop + 1)) for extent in (width, height))
    return _View((left, top, left + crop, top + crop), bool(flips and rng.random() < 0.5))


def _mask(picture: Picture, view: _View, side: int) -> Array:
    """Reduce a view's mask to the latents' size: the share of each 8 x 8 pixels that counts, (side/8, side/8, 1)."""
    if picture.mask is None:
        return np.ones((side // 8, side // 8, 1), "float32")
    cut = view.of(picture.mask, side).reshape(side // 8, 8, side // 8, 8)
    return np.asarray(cut.mean(axis=(1, 3))[..., None] / 255.0, "float32")
