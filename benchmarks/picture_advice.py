"""The pictures of docs/pictures.md: what masks, captions, initializers and several tokens in a prompt do on `tiny`.

    python -m benchmarks.picture_advice [--into docs/images]

Seven trainings, a WebP file for each subject. Look at them before they are committed. About 5 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw, ImageFont

from benchmarks.masked_ground import compose
from benchmarks.tiny_inversion import DRAWING_SEED, Bench
from benchmarks.token_trial import Pixels, Vectors, config_of, drawn, learn
from trainer.base_weights.presets import locate
from trainer.data.latents import encode_views
from trainer.data.pictures import Picture
from trainer.data.tokenizer import Tokenizer, load_byte_pairs
from trainer.models.shapes import TINY
from trainer.sampling.sampler import Pipeline
from trainer.tiny import world

TILES, TILE, GAP, LABEL = 8, 88, 6, 24
STAR, CRESCENT, GROUND = ("green", "star"), ("teal", "crescent"), "yellow"
IMAGES = 4
FEW_STEPS = 20


@dataclass(frozen=True)
class Strip:
    """A row of a picture: its label, and uint8 (N, 64, 64, 3)."""

    label: str
    pictures: Pixels


class SeveralTokens(Tokenizer):
    """Tokenizer of a prompt with several learned tokens, one vector each.

    Args:
        merges: As of `Tokenizer`.
        tokens: The placeholder tokens, in the order of the vectors.
    """

    def __init__(self, merges: Path, tokens: Sequence[str]) -> None:
        super().__init__(merges, TINY.text_encoder.length, tokens[0], len(tokens))
        self._pairs, self._tokens = load_byte_pairs(merges), tuple(tokens)

    def ids(self, text: str) -> list[int]:
        """Turn a text into token ids; each placeholder becomes the id of its vector."""
        found: list[int] = []
        for part in re.split(f"({'|'.join(map(re.escape, self._tokens))})", text.lower()):
            known = part in self._tokens
            found += [self.vocabulary + self._tokens.index(part)] if known else self._pairs.encode(part)
        return found


def save(file: Path, strips: Sequence[Strip]) -> None:
    """Write rows of pictures with their labels above them."""
    width = GAP + TILES * (TILE + GAP)
    sheet = Image.new("RGB", (width, len(strips) * (LABEL + TILE + GAP) + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for index, strip in enumerate(strips):
        top = index * (LABEL + TILE + GAP) + GAP
        pen.text((GAP, top), strip.label, "#1a1a1a", ImageFont.load_default(15))
        for column, pixels in enumerate(strip.pictures[:TILES]):
            tile = Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.LANCZOS)
            sheet.paste(tile, (GAP + column * (TILE + GAP), top + LABEL))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file, "WEBP", quality=82, method=6)
    print(file, f"{file.stat().st_size / 1000:.0f} kB", flush=True)


def taught(pictures: Sequence[Picture]) -> Strip:
    """Return the row of the training pictures."""
    return Strip("trained with", np.stack([picture.pixels for picture in pictures]))


def trained(
    bench: Bench,
    pictures: Sequence[Picture],
    initializer: str,
    *,
    mask: str | None = None,
    max_steps: int | None = None,
) -> Vectors:
    """Train a token with the defaults of `tiny`."""
    config = config_of(initializer, 0, mask=mask, max_steps=max_steps)
    return learn(
        bench.frozen, encode_views(list(pictures), bench.encoder, config, bench.base.preset.views, seed=1), config
    )


def masks(bench: Bench, into: Path) -> Vectors:
    """Show what a mask does about a strong ground; return the vectors of the masked training."""
    strong, white = (compose(STAR, ground, IMAGES, seed=0) for ground in (GROUND, None))
    masked = trained(bench, white, STAR[1], mask="alpha")
    strips = [
        taught(strong),
        Strip("without a mask", drawn(bench, trained(bench, strong, STAR[1]), TILES)),
        Strip("cut out, with training.mask: alpha", drawn(bench, masked, TILES)),
    ]
    save(into / "masks.webp", strips)
    return masked


def captions(bench: Bench, into: Path) -> None:
    """Show what captions do that say what else is in the pictures."""
    strong = compose(STAR, GROUND, IMAGES, seed=0)
    said = [replace(picture, caption=f"{GROUND} circle") for picture in strong]
    strips = [
        taught(strong),
        Strip("without captions", drawn(bench, trained(bench, strong, STAR[1]), TILES)),
        Strip(f"each with the caption: {GROUND} circle", drawn(bench, trained(bench, said, STAR[1]), TILES)),
    ]
    save(into / "captions.webp", strips)


def initializers(bench: Bench, into: Path) -> Vectors:
    """Show what the initializer does after few steps and after all; return the vectors of the last row."""
    pictures = [Picture(np.asarray(world.draw(*CRESCENT, rng)), "") for rng in [np.random.default_rng(3)] * IMAGES]
    last = trained(bench, pictures, "circle")
    strips = [
        taught(pictures),
        *(
            Strip(f"from the word {word}, {FEW_STEPS} steps", drawn(bench, vectors, TILES))
            for word in ("crescent", "circle")
            for vectors in [trained(bench, pictures, word, max_steps=FEW_STEPS)]
        ),
        Strip("from the word circle, all 200 steps", drawn(bench, last, TILES)),
    ]
    save(into / "initializers.webp", strips)
    return last


def several(bench: Bench, into: Path, star: Vectors, crescent: Vectors) -> None:
    """Show what two learned tokens in one prompt draw."""
    tokens, both = ("<star>", "<moon>"), tf.concat([star, crescent], axis=0)
    pipeline = Pipeline(
        bench.base,
        SeveralTokens(locate("tiny")["merges.txt.gz"], tokens),
        lambda ids: bench.frozen.text_encoder.encode_with_placeholders(ids, both),
        diffusion_model=bench.frozen.diffusion_model,
    )
    prompts = [f"a photo of {tokens[0]}", f"a photo of {tokens[1]}", f"a photo of {tokens[0]} and {tokens[1]}"]
    strips = [Strip(prompt, pipeline.draw(prompt, num_images=TILES, seed=DRAWING_SEED)) for prompt in prompts]
    save(into / "several.webp", strips)


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=Path("docs/images"))
    into, bench = parser.parse_args().into, Bench()
    star = masks(bench, into)
    captions(bench, into)
    several(bench, into, star, initializers(bench, into))


if __name__ == "__main__":
    main()
