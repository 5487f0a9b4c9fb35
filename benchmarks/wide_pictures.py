"""Do aspect-ratio buckets, or padding, beat the square crops of wide pictures?

    python -m benchmarks.wide_pictures --json

Pictures of twice the width, with the shape anywhere in them, are trained with in four ways: random square crops, as the
trainer takes them; padded to a square with their ground; whole, in latents of their own shape (a bucket of 96 x 48
pixels, about as many as 64 x 64); and cropped to a square around the shape by hand, as `conceptry plan` advises. The
same square pictures judge all of them. About 25 minutes on 2 cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import mean

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks.tiny_inversion import Bench
from benchmarks.token_trial import Pixels, config_of, drawn, figures, learn
from benchmarks.variants import Pair, compare, read_options
from trainer import evaluation, objective
from trainer.data.latents import Latents, encode_views
from trainer.data.pictures import Picture
from trainer.models import shapes
from trainer.tiny import world
from trainer.training_config import Config

IMAGES, JUDGED, COUNT = 4, 2, 24
BUCKET = (48, 96)
"""Height and width in pixels."""


@dataclass(frozen=True)
class Wide:
    """A picture of 128 x 64 pixels, its ground, and where the middle of its shape is, in pixels from the left."""

    pixels: Pixels
    ground: tuple[int, int, int]
    middle: int


@dataclass(frozen=True)
class Row:
    """One token: by which share its held-out loss is lower than before, and the share of pictures drawn right."""

    concept: str
    seed: int
    variant: str
    improvement: float
    right: float


def wide_pictures(pair: Pair, rng: np.random.Generator) -> list[Wide]:
    """Draw pictures of a pair on a ground of twice the width."""
    found = []
    for _ in range(IMAGES):
        scene = world.scene(*pair, rng)
        middle = int(rng.integers(32, 97))
        picture = Image.new("RGB", (128, 64), scene.background)
        picture.paste(world.render(replace(scene, centre=(0.5, scene.centre[1]))), (middle - 32, 0))
        found.append(Wide(np.asarray(picture), scene.background, middle))
    return found


def cropped(bench: Bench, found: Sequence[Wide], config: Config) -> Latents:
    """Take random square crops, as the trainer does."""
    return _encode(bench, [Picture(one.pixels, "") for one in found], config)


def padded(bench: Bench, found: Sequence[Wide], config: Config) -> Latents:
    """Pad each picture to a square with its ground."""
    squares = []
    for one in found:
        square = Image.new("RGB", (128, 128), one.ground)
        square.paste(Image.fromarray(one.pixels), (0, 32))
        squares.append(Picture(np.asarray(square), ""))
    return _encode(bench, squares, config)


def by_hand(bench: Bench, found: Sequence[Wide], config: Config) -> Latents:
    """Crop each picture to a square around its shape."""
    return _encode(bench, [Picture(one.pixels[:, one.middle - 32 : one.middle + 32], "") for one in found], config)


def bucket(bench: Bench, found: Sequence[Wide], config: Config) -> Latents:
    """Keep each picture whole; its views are crops of 90 to 100 % of it."""
    rng = np.random.default_rng([1, config.seed])
    views = []
    for one in found:
        for _ in range(bench.base.preset.views):
            share = rng.uniform(0.9, 1.0)
            width, height = round(128 * share), round(64 * share)
            left, top = int(rng.integers(0, 129 - width)), int(rng.integers(0, 65 - height))
            whole = Image.fromarray(one.pixels)
            box = (left, top, left + width, top + height)
            views.append(np.asarray(whole.resize(BUCKET[::-1], Image.Resampling.LANCZOS, box=box)))
    pixels = np.stack(views).astype("float32") / 127.5 - 1.0
    mean_of, log_variance = np.split(np.asarray(bench.encoder(tf.constant(pixels))), 2, axis=-1)
    deviation = np.exp(0.5 * np.clip(log_variance, -30.0, 20.0))
    scale = shapes.LATENT_SCALE
    means, deviations = np.asarray(mean_of * scale, "float32"), np.asarray(deviation * scale, "float32")
    return Latents(means, deviations, [""] * len(views))


def _encode(bench: Bench, pictures: list[Picture], config: Config) -> Latents:
    return encode_views(pictures, bench.encoder, config, bench.base.preset.views, seed=1)


VARIANTS: dict[str, Callable[[Bench, Sequence[Wide], Config], Latents]] = {
    "square crops": cropped,
    "padded": padded,
    "bucket": bucket,
    "cropped by hand": by_hand,
}


def run(bench: Bench, whole: objective.Frozen, pair: Pair, *, seed: int, variant: str) -> Row:
    """Train a token and measure it; `whole` is the base model for latents of a bucket."""
    config = config_of(pair[1], seed)
    rng = np.random.default_rng([seed, world.PAIRS.index(pair)])
    found = wide_pictures(pair, rng)
    judged = [Picture(np.asarray(world.draw(*pair, rng)), "") for _ in range(JUDGED)]
    latents = VARIANTS[variant](bench, found, config)
    vectors = learn(whole if variant == "bucket" else bench.frozen, latents, config)
    pictures = drawn(bench, vectors, COUNT)
    views = encode_views(judged, bench.encoder, config, evaluation.VIEWS, seed=2)
    seen = figures(bench, pair, judged=views, config=config, vectors=vectors, pictures=pictures)
    return Row(" ".join(pair), seed, variant, seen.improvement, seen.right)


def summary(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return the means of each variant, and its worst token."""
    found = {}
    for name in VARIANTS:
        those = [row for row in rows if row.variant == name]
        each = {key: [getattr(row, key) for row in those] for key in ("improvement", "right")}
        found[name] = {key: round(mean(values), 4) for key, values in each.items()} | {"worst": min(each["right"])}
    return found


def main() -> None:
    """Measure everything and print one JSON object; progress goes to stderr."""
    options, bench = read_options(__doc__), Bench()
    whole = replace(bench.frozen, diffusion_model=bench.base.diffusion_model(*BUCKET), compiled={})

    def trial(pair: Pair, seed: int, variant: str) -> Row:
        return run(bench, whole, pair, seed=seed, variant=variant)

    compare(options, tuple(VARIANTS), trial, summary)


if __name__ == "__main__":
    main()
