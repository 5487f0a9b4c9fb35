"""Pictures that are harder than the tiny world's: two shapes side by side, or one shape on a coloured ground."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image

from benchmarks.judge import paint_wavy
from trainer.tiny import world

Kind = Literal["plain", "two", "ground"]
Pair = tuple[str, str]

GROUNDS: dict[str, tuple[int, int, int]] = {
    name: (255 - (255 - red) * 11 // 20, 255 - (255 - green) * 11 // 20, 255 - (255 - blue) * 11 // 20)
    for name, (red, green, blue) in world.COLOURS.items()
    if name in ("yellow", "green", "blue", "pink")
}
"""Colours of grounds, lighter than shapes of that colour."""
_SHARES: dict[Kind, float] = {"plain": 0.4, "two": 0.35, "ground": 0.25}


@dataclass(frozen=True)
class Composition:
    """What a picture shows: one pair, or two from left to right, on a pale ground or on one of `GROUNDS`."""

    pairs: tuple[Pair, ...]
    ground: str | None = None

    @property
    def kind(self) -> Kind:
        """Which of the three kinds of picture it is."""
        if len(self.pairs) == 2:
            return "two"
        return "plain" if self.ground is None else "ground"

    def words(self, names: tuple[str, ...]) -> str:
        """Say it in words, each pair by the name given for it."""
        return " and ".join(names) + (f" on {self.ground} background" if self.ground else "")


def compose(rng: np.random.Generator) -> Composition:
    """Choose a kind of picture and its content; only plain ones show pairs that no caption may name."""
    kind = rng.choice(list(_SHARES), p=list(_SHARES.values()))
    if kind == "plain":
        return Composition((world.PAIRS[rng.integers(len(world.PAIRS))],))
    first, second = (world.CAPTIONED[rng.integers(len(world.CAPTIONED))] for _ in range(2))
    if kind == "two":
        return Composition((first, second))
    others = [name for name in GROUNDS if name != first[0]]
    return Composition((first,), others[rng.integers(len(others))])


def scenes(composition: Composition, rng: np.random.Generator) -> tuple[world.Scene, ...]:
    """Place each pair at random; two stand side by side, each in its own half."""
    found = [world.scene(*pair, rng) for pair in composition.pairs]
    if composition.ground:
        tint = tuple(int(np.clip(v + rng.integers(-8, 9), 0, 255)) for v in GROUNDS[composition.ground])
        found = [replace(scene, background=tint) for scene in found]  # type: ignore[arg-type]
    if composition.kind == "two":
        for index, scene in enumerate(found):
            size = rng.uniform(0.4, 0.47)
            centre = (0.25 + 0.5 * index + rng.uniform(-0.015, 0.015), 0.5 + rng.uniform(-0.2, 0.2))
            found[index] = replace(scene, size=size, centre=centre)
    return tuple(found)


def render(placed: tuple[world.Scene, ...], blobs: tuple[bool, ...], rng: np.random.Generator) -> Image.Image:
    """Draw scenes over the first one's ground; those that are blobs get a shape that is none of the eight."""
    picture = Image.new("RGB", (world.SIZE, world.SIZE), placed[0].background)
    for scene, blob in zip(placed, blobs, strict=True):
        if not blob:
            world.paint(picture, scene)
        elif rng.random() < 0.5:
            paint_wavy(picture, scene, rng)
        else:
            other = world.SHAPES[(world.SHAPES.index(scene.shape) + int(rng.integers(1, 8))) % 8]
            world.paint(picture, scene)
            turned = replace(scene, shape=other, rotation=scene.rotation + 180 * float(rng.random()))
            world.paint(picture, turned)
    return picture


def caption(composition: Composition, rng: np.random.Generator) -> str:
    """Say a composition in words, as `world.caption` says a pair.

    Raises:
        ValueError: A pair is held out; the pre-training never captions it.
    """
    if composition.kind == "plain":
        return world.caption(composition.pairs[0], rng)
    if held_out := set(composition.pairs) & set(world.HELD_OUT):
        raise ValueError(f"{held_out}: the pre-training never captions it")
    names = tuple(" ".join(pair) if rng.random() < 0.5 else world.NAMES[pair] for pair in composition.pairs)
    return world.TEMPLATES[rng.integers(len(world.TEMPLATES))].format(composition.words(names))
