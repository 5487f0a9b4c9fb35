"""How often is a sample called a copy of a training picture, and one picture called another one's look-alike?

    python -m benchmarks.copies --data ../shared/data/dreambooth --json

Half a minute, without a base model. The thresholds of trainer/sampling/copies.py and trainer/data/perceptual_hash.py
were chosen on the DreamBooth set's photographs, so their figures are of the choice, not of a test:

- of photographs of one subject, none is a copy of another one: other photographs of a thing stand in for good samples;
- of training pictures that were cropped, mirrored, blurred, recoloured and given noise nine in ten are found;
- of sets of eight good pictures of `tiny`'s world at most 1 % have so many of them called copies that the gate says so
  (`conceptry.gate.COPIED`);
- of two photographs of one subject none looks like the other, so that all can be held out; of photographs that were
  cropped by 2 to 10 %, and half of them mirrored and saved as poor JPEGs, nine in ten look like the original. Of two
  pictures of one plain shape few do.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from collections.abc import Iterator
from itertools import chain, combinations, permutations
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from conceptry.gate import COPIED
from trainer.data.perceptual_hash import Look
from trainer.data.pictures import Picture, Pixels
from trainer.sampling.copies import find_copies
from trainer.tiny import world

SIDE = 256
VIEWS = 3
TINY_SETS = 25
SUFFIXES = (".jpg", ".jpeg", ".png")


def read(folder: Path) -> list[Picture]:
    """Read the photographs of one subject, with a shorter side of 256 pixels."""
    found = []
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES):
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        scale = SIDE / min(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        found.append(
            Picture(np.asarray(image.resize(size, Image.Resampling.LANCZOS)), "", f"{folder.name}/{path.name}")
        )
    return found


def view(picture: Picture, rng: np.random.Generator) -> Image.Image:
    """Cut out a random crop of 90 to 100 % of the shorter side, half of them mirrored."""
    image = Image.fromarray(picture.pixels)
    side = int(min(image.size) * rng.uniform(0.9, 1.0))
    left, top = (int(rng.integers(0, extent - side + 1)) for extent in image.size)
    cut = image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
    return ImageOps.mirror(cut) if rng.random() < 0.5 else cut


def degraded(image: Image.Image, rng: np.random.Generator) -> Pixels:
    """Blur, recolour and add noise, as a drawing from memory would."""
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 4)))
    for enhance, low, high in (
        (ImageEnhance.Brightness, 0.85, 1.15),
        (ImageEnhance.Color, 0.7, 1.3),
        (ImageEnhance.Contrast, 0.8, 1.2),
    ):
        image = enhance(image).enhance(rng.uniform(low, high))
    return np.clip(np.asarray(image, float) + rng.normal(0, 12, (SIDE, SIDE, 3)), 0, 255).astype("uint8")


def photographs(subjects: list[list[Picture]], rng: np.random.Generator) -> Iterator[tuple[str, bool]]:
    """Yield what each comparison was about, and whether it was called a copy."""
    for pictures in subjects:
        for one, other in permutations(pictures, 2):
            for _ in range(VIEWS):
                yield "another photograph of the subject", bool(find_copies([np.asarray(view(one, rng))], [other]))
        for picture in pictures:
            for _ in range(2 * VIEWS):
                yield "a degraded copy", bool(find_copies([degraded(view(picture, rng), rng)], pictures))


def look_alikes(subjects: list[list[Picture]], rng: np.random.Generator) -> Iterator[tuple[str, bool]]:
    """Yield what two pictures were, and whether one was called the other's look-alike."""
    for pictures in subjects:
        looks = [Look.of(Image.fromarray(picture.pixels)) for picture in pictures]
        for one, other in combinations(looks, 2):
            yield "look-alikes: two photographs of the subject", one.is_like(other)
        for picture, look in zip(pictures, looks, strict=True):
            for percent in (2, 4, 6, 8, 10):
                again = Look.of(saved_again(picture, percent / 100, rng))
                yield f"look-alikes: cropped by {percent} %", look.is_like(again)
    for pair in world.PAIRS:
        shapes = [Look.of(world.draw(*pair, rng)) for _ in range(5)]
        for one, other in combinations(shapes, 2):
            yield "look-alikes: two pictures of one plain shape", one.is_like(other)


def saved_again(picture: Picture, share: float, rng: np.random.Generator) -> Image.Image:
    """Crop a picture's sides by a share, mirror every second one, and save it as a poor JPEG."""
    image = Image.fromarray(picture.pixels)
    wide, high = (round(extent * (1 - share)) for extent in image.size)
    left, top = int(rng.integers(0, image.width - wide + 1)), int(rng.integers(0, image.height - high + 1))
    image = image.crop((left, top, left + wide, top + high))
    buffer = io.BytesIO()
    (ImageOps.mirror(image) if rng.random() < 0.5 else image).save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


def tiny_sets() -> list[bool]:
    """Say of sets of eight good pictures, with three to train on, whether the gate would call them copies."""
    called = []
    for pair in world.HELD_OUT:
        for seed in range(TINY_SETS):
            rng = np.random.default_rng([seed, world.PAIRS.index(pair)])
            drawn = [np.asarray(world.draw(*pair, rng)) for _ in range(11)]
            copies = find_copies(drawn[:8], [Picture(pixels, "") for pixels in drawn[8:]])
            called.append(len(copies) >= COPIED * 8)
    return called


def main() -> None:
    """Measure everything and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder of photographs of each subject")
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    options = parser.parse_args()
    subjects = [read(folder) for folder in sorted(options.data.iterdir()) if folder.is_dir()]
    outcomes: dict[str, list[bool]] = {}
    subjects = [pictures for pictures in subjects if pictures]
    rng = np.random.default_rng(0)
    for kind, called in chain(photographs(subjects, rng), look_alikes(subjects, rng)):
        outcomes.setdefault(kind, []).append(called)
    outcomes["eight good pictures of tiny's world, by the gate"] = tiny_sets()
    print(
        json.dumps(
            {kind: {"of": len(rows), "called": sum(rows) / len(rows)} for kind, rows in outcomes.items()}, indent=2
        )
    )


if __name__ == "__main__":
    main()
