"""The second judge: which shapes, in which colours, on which ground. It has seen no picture of a diffusion model."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import numpy.typing as npt
from PIL import ImageFilter

from benchmarks.composition import scenes
from benchmarks.judge import classifier
from trainer.models import keras_reference
from trainer.tiny import world

FILE = "composition_judge.safetensors"
COLOURS = (*world.COLOURS, "none")
SHAPES = (*world.SHAPES, "blob", "none")
GROUNDS = (*scenes.GROUNDS, "pale")
HEADS = (len(COLOURS), len(SHAPES), len(COLOURS), len(SHAPES), len(GROUNDS))
"""Colour and shape of the left (or only) object, then of the right one, then the ground."""

Pixels = npt.NDArray[np.uint8]
Labels = tuple[int, int, int, int, int]


def network() -> keras.Model:
    """The second judge without its weights: pictures (B, 64, 64, 3) in [-1, 1] to the logits of each of `HEADS`."""
    return classifier((32, 48, 64, 96), 192, HEADS)


def load(folder: Path) -> keras.Model:
    """Load the second judge from the folder that `python -m benchmarks.composition` wrote."""
    model = network()
    keras_reference.load(folder / FILE, {"judge": model})
    return model


def right(model: keras.Model, pictures: Pixels, wanted: scenes.Composition) -> float:
    """Return the share of pictures, uint8 (N, 64, 64, 3), that show exactly this; two objects in either order."""
    logits = model(pictures.astype("float32") / 127.5 - 1.0)
    seen = np.stack([np.argmax(np.asarray(head), axis=1) for head in logits], axis=1)
    orders = {labels(replace(wanted, pairs=order)) for order in (wanted.pairs, wanted.pairs[::-1])}
    return float(np.mean([tuple(row) in orders for row in seen.tolist()]))


def labels(shown: scenes.Composition, blobs: tuple[bool, ...] = (False, False)) -> Labels:
    """Return the class of each head for a composition whose objects may be blobs."""
    found: list[int] = []
    for index in range(2):
        if index < len(shown.pairs):
            colour, shape = shown.pairs[index]
            found += [COLOURS.index(colour), SHAPES.index("blob" if blobs[index] else shape)]
        else:
            found += [COLOURS.index("none"), SHAPES.index("none")]
    return (*found, GROUNDS.index(shown.ground or "pale"))  # type: ignore[return-value]


@dataclass(frozen=True)
class Examples:
    """Pictures in [-1, 1], float32 (N, 64, 64, 3), and the classes of every head, int (N, 5)."""

    pictures: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def examples(count: int, seed: int) -> Examples:
    """Draw pictures, always a little blurred or noisy; in one of six an object is a blob."""
    rng = np.random.default_rng(seed)
    pictures, found = [], []
    for _ in range(count):
        shown = scenes.compose(rng)
        if shown.kind != "plain":  # the judge knows every pair; only captions must not name those held out
            pairs = tuple(world.PAIRS[rng.integers(len(world.PAIRS))] for _ in shown.pairs)
            ground = shown.ground
            while ground and ground == pairs[0][0]:
                ground = list(scenes.GROUNDS)[rng.integers(len(scenes.GROUNDS))]
            shown = scenes.Composition(pairs, ground)
        blobs = tuple(bool(rng.random() < 1 / 6) for _ in shown.pairs)
        picture = scenes.render(scenes.scenes(shown, rng), blobs, rng)
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.0))))
        noisy = np.asarray(picture) + rng.normal(0, rng.uniform(0, 10), (world.SIZE, world.SIZE, 3))
        pictures.append(np.clip(noisy, 0, 255).astype("uint8"))
        found.append(labels(shown, (*blobs, False)))
    return Examples(np.asarray(np.stack(pictures) / 127.5 - 1.0, "float32"), np.array(found))


def train(folder: Path, seed: int = 11, count: int = 24_000, epochs: int = 5, batch: int = 64) -> dict[str, Any]:
    """Train the judge, save it into a folder, and return the share of fresh pictures that it reads right, by head."""
    keras.utils.set_random_seed(seed)
    drawn, model = examples(count, seed), network()
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * count // batch, 0.01)
    loss = [keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in HEADS]
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.01), loss, jit_compile=True)
    model.fit(drawn.pictures, list(drawn.labels.T), batch_size=batch, epochs=epochs, verbose=2)
    keras_reference.save(folder / FILE, {"judge": model}, "float16")
    fresh = examples(4_000, seed + 1)
    seen = np.stack([np.argmax(head, axis=1) for head in load(folder).predict(fresh.pictures, verbose=0)], axis=1)
    names = ("colour", "shape", "second colour", "second shape", "ground")
    shares = dict(zip(names, (seen == fresh.labels).mean(axis=0).round(4).tolist(), strict=True))
    return shares | {"all": round(float((seen == fresh.labels).all(axis=1).mean()), 4)}
