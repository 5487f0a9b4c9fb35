"""The comparison of images without NumPy finds the same as the one with it."""

from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from trainer.data.perceptual_hash import Look
from trainer.data.plain_look import PlainLook
from trainer.tiny.world import PAIRS, draw


def pictures() -> list[Image.Image]:
    first, second = (draw(*PAIRS[0], np.random.default_rng(seed)).resize((160, 120)) for seed in (1, 2))
    cropped = first.crop((4, 3, 158, 118))
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 255, (90, 200, 3), dtype=np.uint8))
    return [first, second, cropped, first.transpose(Image.Transpose.FLIP_LEFT_RIGHT), noise, noise.resize((100, 45))]


def test_both_find_the_same_pairs() -> None:
    shown = pictures()
    found = [
        {pair for pair in combinations(range(len(shown)), 2) if looks[pair[0]].is_like(looks[pair[1]])}
        for looks in ([Look.of(image) for image in shown], [PlainLook.of(image) for image in shown])
    ]
    assert found[0] == found[1]
    assert (0, 2) in found[0]


def test_the_hashes_are_the_same() -> None:
    for image in pictures():
        one, other = Look.of(image), PlainLook.of(image)
        assert other.whole == pytest.approx(one.whole, abs=1e-12)
        assert np.asarray(other.parts) == pytest.approx(one.parts, abs=1e-12)
