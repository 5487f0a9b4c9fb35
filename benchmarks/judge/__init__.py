"""A classifier of the tiny world's pictures: which colour, which shape, or a blob that is neither.

    python -m benchmarks.judge

trains it again (about 3 minutes on 2 cores) and writes judge.safetensors beside this file. It learns from pictures that
`trainer.tiny.world` draws, blurred and made noisy, and from blobs that are drawn here. It has never seen a picture that
came out of a diffusion model, so it cannot have learned to be kind to one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from trainer.models import keras_reference
from trainer.tiny import world

WEIGHTS = Path(__file__).parent / "judge.safetensors"
COLOURS = tuple(world.COLOURS)
SHAPES = (*world.SHAPES, "blob")
BLOB = len(world.SHAPES)

Pixels = npt.NDArray[np.uint8]


def network() -> keras.Model:
    """The judge without its weights: pictures (B, 64, 64, 3) in [-1, 1] to colour (B, 8) and shape (B, 9) logits."""
    return classifier((16, 32, 64, 96), 128, (len(COLOURS), len(SHAPES)))


def classifier(channels: Iterable[int], width: int, classes: Iterable[int]) -> keras.Model:
    """A small convolutional network from pictures (B, 64, 64, 3) in [-1, 1] to the logits of each kind of classes."""
    pixels = keras.layers.Input((world.SIZE, world.SIZE, 3))
    x = pixels
    for count in channels:
        x = keras.layers.Conv2D(count, 3, strides=2, padding="same")(x)
        x = keras.layers.GroupNormalization(8)(x)
        x = keras.layers.Activation("swish")(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(width, activation="swish")(x)
    return keras.Model(pixels, [keras.layers.Dense(count)(x) for count in classes])


def load() -> keras.Model:
    """The judge with its weights."""
    model = network()
    keras_reference.load(WEIGHTS, {"judge": model})
    return model


def right(model: keras.Model, pictures: Pixels, colour: str, shape: str) -> dict[str, float]:
    """The share of pictures, uint8 (N, 64, 64, 3), in which the judge sees this colour, this shape, and both."""
    colours, shapes = (np.argmax(np.asarray(logits), axis=1) for logits in model(_unit(pictures)))
    is_colour, is_shape = colours == COLOURS.index(colour), shapes == SHAPES.index(shape)
    return {
        "colour": float(is_colour.mean()),
        "shape": float(is_shape.mean()),
        "both": float((is_colour & is_shape).mean()),
    }


def example(rng: np.random.Generator) -> tuple[Pixels, int, int]:
    """One picture with its colour and shape: in one of seven a blob, always a little blurred or noisy."""
    colour = int(rng.integers(len(COLOURS)))
    shape = int(rng.integers(len(world.SHAPES)))
    if rng.random() < 1 / 7:
        picture, shape = _blob(COLOURS[colour], rng), BLOB
    else:
        picture = world.draw(COLOURS[colour], SHAPES[shape], rng)
    picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.2))))
    noise = rng.normal(0, rng.uniform(0, 10), (world.SIZE, world.SIZE, 3))
    return np.clip(np.asarray(picture) + noise, 0, 255).astype("uint8"), colour, shape


def _blob(colour: str, rng: np.random.Generator) -> Image.Image:
    """A shape that is none of the eight: a wavy outline, two half-drawn shapes, or one shape blurred away."""
    scene = world.scene(colour, "circle", rng)
    kind = rng.integers(3)
    if kind == 0:
        return _wavy(scene, rng)
    first, second = rng.choice(len(world.SHAPES), 2, replace=False)
    picture = world.render(world.scene(colour, world.SHAPES[first], rng))
    if kind == 1:
        return Image.blend(picture, world.render(world.scene(colour, world.SHAPES[second], rng)), 0.5)
    return picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(6, 10))))


def _wavy(scene: world.Scene, rng: np.random.Generator) -> Image.Image:
    picture = Image.new("RGB", (world.SIZE, world.SIZE), scene.background)
    paint_wavy(picture, scene, rng)
    return picture


def paint_wavy(picture: Image.Image, scene: world.Scene, rng: np.random.Generator) -> None:
    """Draw a wavy outline at a scene's place, in its colour and about its size."""
    side = world.SIZE
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    radius = np.ones_like(angles)
    for wave in (2, 3, 4, 5):
        radius += rng.uniform(0.1, 0.3) * np.cos(wave * angles + rng.uniform(0, 2 * np.pi))
    radius *= scene.size / 2 * side * 0.7
    x, y = scene.centre[0] * side + radius * np.cos(angles), scene.centre[1] * side + radius * np.sin(angles)
    ImageDraw.Draw(picture).polygon(list(zip(x.tolist(), y.tolist(), strict=True)), fill=world.COLOURS[scene.colour])


def _unit(pictures: Pixels) -> Any:
    return pictures.astype("float32") / 127.5 - 1.0
