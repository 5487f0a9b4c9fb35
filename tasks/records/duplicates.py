"""Pictures that are the same, or nearly: they count twice in training, and one may be held out to judge the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from PIL import Image

_GRID = 16
# A picture saved again, smaller, brighter or as a poor JPEG, correlates at 0.99 and more with itself; other photographs
# of the same cat at 0.6 and less; a plain disc on a plain table, somewhere else each time, at 0.98 and less.
_ALIKE = 0.985


@dataclass(frozen=True)
class Print:
    """What is kept of a picture to compare it by: its file's md5, and a perceptual hash.

    The hash is a 16 x 16 colour copy with its mean taken out and its norm made one, float64 (768,), so that a product
    is a correlation: it matters where the picture is lighter, not how light it is.
    """

    file: str
    md5: str
    hash: npt.NDArray[np.float64]

    @classmethod
    def of(cls, image: Image.Image, file: str, md5: str) -> Print:
        """Take the print of an RGB picture."""
        small = np.asarray(image.resize((_GRID, _GRID), Image.Resampling.BOX), np.float64).ravel()
        small -= small.mean()
        return cls(file, md5, small / max(float(np.linalg.norm(small)), 1.0))


def find_duplicates(prints: Iterable[Print]) -> list[str]:
    """Say in words which pictures are the same or look the same."""
    warnings = []
    for one, other in combinations(prints, 2):
        names = " and ".join(sorted((one.file, other.file)))
        if one.md5 == other.md5:
            warnings.append(f"{names} are the same file; remove one")
        elif float(one.hash @ other.hash) >= _ALIKE:
            warnings.append(f"{names} look the same; remove one, or use a picture that differs more")
    return sorted(warnings)
