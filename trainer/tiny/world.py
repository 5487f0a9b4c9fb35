"""The small world of the `tiny` preset: one plain shape in one colour on a pale background.

A picture shows one of 8 shapes in one of 8 colours. A few pairs are held out: no caption of the pre-training ever names
them, so that Textual Inversion has something to learn that the model cannot yet be asked for. Every other pair also has
a name of its own, one made-up word, so that the text encoder learns that a single token can mean a colour and a shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIZE = 64
"""Width and height of a picture in pixels."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "orange": (255, 140, 0),
    "yellow": (242, 214, 36),
    "green": (44, 160, 60),
    "teal": (0, 168, 168),
    "blue": (40, 84, 214),
    "purple": (128, 52, 168),
    "pink": (244, 130, 190),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "ring", "cross", "crescent")
HELD_OUT = (
    ("teal", "crescent"),
    ("orange", "ring"),
    ("red", "heart"),
    ("purple", "cross"),
    ("green", "star"),
    ("blue", "triangle"),
)
PAIRS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
CAPTIONED = tuple(pair for pair in PAIRS if pair not in HELD_OUT)

_SYLLABLES = ("ba", "do", "fi", "gu", "ka", "lo", "mi", "nu", "pa", "ro", "si", "tu", "va", "zo")
_SUPERSAMPLING = 4
_PHRASES = (0.42, 0.42, 0.1, 0.06)


def _name(index: int) -> str:
    # Two mixed-radix syllables and a fixed third: distinct for every index below 14 * 14.
    first, second = divmod(index * 37 % 196, 14)
    return _SYLLABLES[first] + _SYLLABLES[second] + _SYLLABLES[(first + second) % 14]


NAMES: dict[tuple[str, str], str] = {pair: _name(index) for index, pair in enumerate(CAPTIONED)}
"""One made-up word for each captioned pair, as a red circle could be called a tomato."""

TEMPLATES = (
    "{}",
    "a photo of {}",
    "a picture of {}",
    "a drawing of {}",
    "a rendering of {}",
    "a good photo of {}",
    "a bright photo of {}",
    "a cropped photo of {}",
    "a close-up photo of {}",
    "a photo of one {}",
    "a photo of the {}",
    "a photo of a {}",
    "a photo of my {}",
    "a nice {}",
)
WORDS = (
    *COLOURS,
    *SHAPES,
    *NAMES.values(),
    *("a", "an", "the", "my", "one", "of", "in", "on"),
    *("photo", "picture", "drawing", "rendering", "good", "bright", "cropped", "close", "up", "nice"),
    *("small", "large", "shape", "background", "white", "grey", "painting", "style", "by", "image"),
)
"""Every word of a caption; the merges file makes each of them one token."""


@dataclass(frozen=True)
class Scene:
    """One picture's content: `size` is the shape's diameter as a fraction of the picture's side."""

    colour: str
    shape: str
    size: float
    centre: tuple[float, float]
    rotation: float
    jitter: tuple[int, int, int]
    background: tuple[int, int, int]


def scene(colour: str, shape: str, rng: np.random.Generator) -> Scene:
    """Place a shape at random: 62 to 86 % of the side, whole in the picture, rotated by up to 25 degrees."""
    size = rng.uniform(0.62, 0.86)
    slack = (1.0 - size) / 2
    centre = (0.5 + rng.uniform(-slack, slack), 0.5 + rng.uniform(-slack, slack))
    pale = rng.integers(216, 256)
    background = tuple(int(np.clip(pale + rng.integers(-8, 9), 0, 255)) for _ in range(3))
    jitter = tuple(int(v) for v in rng.integers(-10, 11, 3))
    return Scene(colour, shape, size, centre, float(rng.uniform(-25, 25)), jitter, background)  # type: ignore[arg-type]


def draw(colour: str, shape: str, rng: np.random.Generator) -> Image.Image:
    """Draw one picture of a pair, RGB, 64 x 64 pixels, its place, size and background drawn from `rng`."""
    return render(scene(colour, shape, rng))


def render(scene: Scene, side: int = SIZE) -> Image.Image:
    """Draw a scene as an RGB picture of `side` x `side` pixels."""
    picture = Image.new("RGB", (side, side), scene.background)
    paint(picture, scene)
    return picture


def paint(picture: Image.Image, scene: Scene) -> None:
    """Draw a scene's shape, without its background, into a square RGB picture."""
    side = picture.width
    big = side * _SUPERSAMPLING
    mask = Image.new("L", (big, big), 0)
    pen = ImageDraw.Draw(mask)
    radius = scene.size / 2
    turn = math.radians(scene.rotation)

    def place(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        cos, sin = math.cos(turn) * radius, math.sin(turn) * radius
        cx, cy = scene.centre
        return [((cx + x * cos - y * sin) * big, (cy + x * sin + y * cos) * big) for x, y in points]

    for fill, outline in _OUTLINES[scene.shape]:
        pen.polygon(place(outline), fill=fill)
    colour = tuple(
        int(np.clip(base + shift, 0, 255)) for base, shift in zip(COLOURS[scene.colour], scene.jitter, strict=True)
    )
    picture.paste(colour, (0, 0), mask.resize((side, side), Image.Resampling.BOX))


def caption(pair: tuple[str, str], rng: np.random.Generator) -> str:
    """Say a pair in words: colour and shape, its own name, or now and then only the shape or only the colour.

    Raises:
        ValueError: The pair is held out; the pre-training never captions it.
    """
    if pair in HELD_OUT:
        raise ValueError(f"{pair[0]} {pair[1]} is held out: the pre-training never captions it")
    colour, shape = pair
    phrase = (f"{colour} {shape}", NAMES[pair], shape, f"{colour} shape")[rng.choice(4, p=_PHRASES)]
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(phrase)


def _circle(radius: float = 1.0, centre: tuple[float, float] = (0.0, 0.0)) -> list[tuple[float, float]]:
    steps = [2 * math.pi * i / 72 for i in range(72)]
    return [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in steps]


def _star() -> list[tuple[float, float]]:
    steps = [(math.pi * i / 5 - math.pi / 2, 1.0 if i % 2 == 0 else 0.42) for i in range(10)]
    return [(r * math.cos(a), r * math.sin(a)) for a, r in steps]


def _heart() -> list[tuple[float, float]]:
    # The usual parametric heart, scaled into the unit circle.
    steps = [2 * math.pi * i / 72 for i in range(72)]
    return [
        (
            16 * math.sin(a) ** 3 / 17,
            -(13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) / 17,
        )
        for a in steps
    ]


def _cross(arm: float = 0.32, reach: float = 0.95) -> list[tuple[float, float]]:
    a, r = arm, reach
    return [(-a, -r), (a, -r), (a, -a), (r, -a), (r, a), (a, a), (a, r), (-a, r), (-a, a), (-r, a), (-r, -a), (-a, -a)]


_OUTLINES: dict[str, list[tuple[int, list[tuple[float, float]]]]] = {
    # Each shape is a list of polygons in the unit circle: 255 adds to the mask, 0 cuts out of it.
    "circle": [(255, _circle(0.92))],
    "square": [(255, [(-0.78, -0.78), (0.78, -0.78), (0.78, 0.78), (-0.78, 0.78)])],
    "triangle": [(255, [(0.0, -1.0), (0.92, 0.68), (-0.92, 0.68)])],
    "star": [(255, _star())],
    "heart": [(255, _heart())],
    "ring": [(255, _circle(0.96)), (0, _circle(0.52))],
    "cross": [(255, _cross())],
    "crescent": [(255, _circle(0.96)), (0, _circle(0.84, (0.62, 0.0)))],
}
