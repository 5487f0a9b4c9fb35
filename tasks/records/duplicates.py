"""Detection of identical and similar images, which weigh double in training and leak into the held-out set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from PIL import Image

_GRID = 16
# An image that was saved again, smaller, brighter or as a low-quality JPEG, correlates with the original at 0.99 or
# more; other photographs of the same cat at 0.6 or less; a plain disc at different places of a plain table at 0.98 or
# less.
_ALIKE = 0.985


@dataclass(frozen=True)
class Print:
    """Features by which an image is compared: md5 of the file, and a perceptual hash.

    The hash is a 16 x 16 RGB copy with zero mean and unit norm, float64 (768,), so that the scalar product of two
    hashes is their correlation, which is independent of brightness and contrast.
    """

    file: str
    md5: str
    hash: npt.NDArray[np.float64]

    @classmethod
    def of(cls, image: Image.Image, file: str, md5: str) -> Print:
        """Return the features of an RGB image."""
        small = np.asarray(image.resize((_GRID, _GRID), Image.Resampling.BOX), np.float64).ravel()
        small -= small.mean()
        return cls(file, md5, small / max(float(np.linalg.norm(small)), 1.0))


def find_duplicates(prints: Iterable[Print]) -> list[str]:
    """Return a warning for each pair of images that are the same file or look the same."""
    warnings = []
    for one, other in combinations(prints, 2):
        names = " and ".join(sorted((one.file, other.file)))
        if one.md5 == other.md5:
            warnings.append(f"{names} are the same file; remove one")
        elif float(one.hash @ other.hash) >= _ALIKE:
            warnings.append(f"{names} look the same; remove one, or use an image that differs more")
    return sorted(warnings)
