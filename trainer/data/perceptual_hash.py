"""Perceptual hash of a picture: which pictures look the same, though their files differ.

No TensorFlow here: `tasks` warns of similar images with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainer.data.look_rules import ALIKE, GRID, SCALES, SHIFT, SIDE, shrink

Hash = npt.NDArray[np.float64]
"""(768,), 16 x 16 pixels in three colours with zero mean and unit norm: the scalar product of two hashes is their
correlation, independent of brightness and contrast."""


def perceptual_hash(image: Image.Image, box: tuple[float, float, float, float] | None = None) -> Hash:
    """Hash an RGB picture of any size, or a part of it in pixels (left, top, right, bottom)."""
    small = np.asarray(image.resize((GRID, GRID), Image.Resampling.BOX, box=box), np.float64).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1.0)


def mirrored(hashed: Hash) -> Hash:
    """Return the hash of the mirrored picture."""
    return hashed.reshape(GRID, GRID, 3)[:, ::-1].ravel()


def hash_parts(image: Image.Image, sizes: Iterable[tuple[float, float]], shift: float) -> npt.NDArray[np.float64]:
    """Hash parts of a picture, (N, 768).

    Args:
        image: RGB picture.
        sizes: Width and height of the parts in pixels.
        shift: How far apart they lie at most, as a fraction of their size.
    """
    hashes = []
    for size in sizes:
        slack = [extent - side for extent, side in zip(image.size, size, strict=True)]
        across, down = (np.linspace(0, s, 1 + round(s / (shift * side))) for s, side in zip(slack, size, strict=True))
        for left, top in product(across, down):
            hashes.append(perceptual_hash(image, (left, top, left + size[0], top + size[1])))
    return np.stack(hashes)


@dataclass(frozen=True)
class Look:
    """What a picture looks like: hashes of the whole, (768,), and of parts of 92 to 100 % of its sides, (N, 768)."""

    whole: Hash
    parts: npt.NDArray[np.float64]

    @classmethod
    def of(cls, image: Image.Image) -> Look:
        """Hash an RGB picture of any size."""
        small = shrink(image, SIDE)
        sizes = ((small.width * scale, small.height * scale) for scale in SCALES)
        return cls(perceptual_hash(small), hash_parts(small, sizes, SHIFT))

    def is_like(self, other: Look) -> bool:
        """Tell whether two pictures look the same: mirrored or not, and if one was cropped a little."""
        return max(self._within(other), other._within(self)) >= ALIKE

    def _within(self, other: Look) -> float:
        return float(np.max(other.parts @ np.stack([self.whole, mirrored(self.whole)]).T))
