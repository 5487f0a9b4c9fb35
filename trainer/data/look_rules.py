"""When two pictures look the same: the sizes that `perceptual_hash` and `plain_look` compare, and from when on."""

from __future__ import annotations

from typing import Protocol, Self

from PIL import Image

GRID = 16
"""Pixels of a hash along each side."""
SIDE = 128
"""Pixels of the shorter side of what is hashed."""
SCALES = (1.0, 0.96, 0.92)
"""Sizes of the hashed parts, as fractions of the sides."""
SHIFT = 0.02
"""How far apart parts of a size lie, as a fraction of their sides."""
# Photographs that were cropped by 2 to 8 % and saved as poor JPEGs reach it in nine of ten cases. The highest of 105
# pairs of other photographs of a subject was 0.955; of pictures of one plain shape 2 % of the pairs reach it
# (`python -m benchmarks.copies`).
ALIKE = 0.985
"""Correlation from which on two pictures look the same."""


class Comparable(Protocol):
    """What can say whether another picture looks the same."""

    def is_like(self, other: Self) -> bool:
        """Tell whether two pictures look the same."""


def shrink(image: Image.Image, side: int) -> Image.Image:
    """Scale a picture so that its shorter side has `side` pixels."""
    scale = side / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BOX)
