"""Does `training.mask: alpha` keep a strongly coloured ground from being learned?

    python -m benchmarks.masked_ground --json

The same pictures of the same concepts, each on a disc of a strong colour that fills the picture, are trained without a
mask and with one; and with one on white, as records store transparent pictures. (`tiny` draws pale grounds only; what
else it can learn is another shape.) The ground's share of a sample is the share of its pixels that are neither pale nor
of the subject's colour, by the nearest colour of the tiny world. About 20 minutes on 2 cores.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image, ImageChops

from benchmarks.tiny_inversion import IMAGES, Bench
from benchmarks.token_trial import Pixels, config_of, drawn, figures, learn
from benchmarks.variants import Pair, compare, read_options
from trainer import evaluation
from trainer.data.latents import encode_views
from trainer.data.pictures import Picture
from trainer.tiny import world

PALE = (236, 236, 236)
"""The mean ground of `tiny`."""
GROUNDS = ("yellow", "pink", "blue", "red")
HELD_OUT, COUNT = 2, 24


@dataclass(frozen=True)
class Variant:
    """How pictures are trained with: on the strong ground or on white, and with masks or not."""

    name: str
    strong: bool
    mask: str | None


VARIANTS = (
    Variant("strong ground, no mask", True, None),
    Variant("strong ground, mask", True, "alpha"),
    Variant("white ground, mask", False, "alpha"),
)


@dataclass(frozen=True)
class Row:
    """One token: the ground's share of its samples, and its figures."""

    concept: str
    ground: str
    seed: int
    variant: str
    share: float
    right: float
    improvement: float


def ground_of(pair: Pair, seed: int) -> str:
    """Return the colour of a concept's ground."""
    others = [name for name in GROUNDS if name != pair[0]]
    return others[(seed + world.PAIRS.index(pair)) % len(others)]


def compose(pair: Pair, ground: str | None, count: int, seed: int) -> list[Picture]:
    """Draw pictures of a pair, small and near the middle, with masks.

    Args:
        pair: Colour and shape.
        ground: Colour of the disc behind it; None for a white ground.
        count: How many.
        seed: Of all that is random; the shapes are the same on every ground.
    """
    rng, found = np.random.default_rng([seed, world.PAIRS.index(pair)]), []
    for _ in range(count):
        centre = (0.5 + rng.uniform(-0.08, 0.08), 0.5 + rng.uniform(-0.08, 0.08))
        scene = replace(world.scene(*pair, rng), size=rng.uniform(0.5, 0.6), centre=centre)
        disc = replace(world.scene(ground or "red", "circle", rng), size=1.15, centre=(0.5, 0.5))
        picture = world.render(disc) if ground else Image.new("RGB", (world.SIZE, world.SIZE), "white")
        world.paint(picture, scene)
        on_black, on_white = (world.render(replace(scene, background=(value,) * 3)) for value in (0, 255))
        seen = ImageChops.invert(ImageChops.difference(on_black, on_white).convert("L"))
        found.append(Picture(np.asarray(picture), "", mask=np.asarray(seen)))
    return found


def ground_share(pictures: Pixels, colour: str) -> float:
    """Return the share of all pixels that are neither pale nor of the subject's colour."""
    names = ("pale", *world.COLOURS)
    colours = np.asarray([PALE, *world.COLOURS.values()], "float32")
    nearest = np.linalg.norm(pictures[..., None, :].astype("float32") - colours, axis=-1).argmin(axis=-1)
    return round(float(((nearest != 0) & (nearest != names.index(colour))).mean()), 4)


def run(bench: Bench, pair: Pair, seed: int, variant: Variant) -> Row:
    """Train a token and measure it."""
    config, ground = config_of(pair[1], seed, mask=variant.mask), ground_of(pair, seed)
    found = compose(pair, ground if variant.strong else None, IMAGES, seed)
    # Not by `split_held_out`: on one ground they look alike, and so none would be held out.
    kept, held_out = found[:-HELD_OUT], found[-HELD_OUT:]
    latents = encode_views(kept, bench.encoder, config, bench.base.preset.views, seed=1)
    judged = encode_views(held_out, bench.encoder, config, evaluation.VIEWS, seed=2)
    vectors = learn(bench.frozen, latents, config)
    pictures = drawn(bench, vectors, COUNT)
    seen = figures(bench, pair, judged=judged, config=config, vectors=vectors, pictures=pictures)
    share = ground_share(pictures, pair[0])
    return Row(" ".join(pair), ground, seed, variant.name, share, seen.right, seen.improvement)


def summary(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return the means of each variant."""
    found = {}
    for variant in VARIANTS:
        those = [row for row in rows if row.variant == variant.name]
        keys = ("share", "right", "improvement")
        found[variant.name] = {key: round(mean(getattr(row, key) for row in those), 4) for key in keys}
    return found


def main() -> None:
    """Measure everything and print one JSON object; progress goes to stderr."""
    options, bench = read_options(__doc__), Bench()
    compare(options, VARIANTS, lambda pair, seed, variant: run(bench, pair, seed, variant), summary)


if __name__ == "__main__":
    main()
