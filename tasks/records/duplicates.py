"""Pictures that are the same, or nearly: they count twice in training, and one may be held out to judge the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from PIL import Image

_GRID = 16
# Of 512 bits. Saving a photograph again, smaller, brighter, or with its edges trimmed, changes fewer than 60; other
# pictures of the same thing differ in 160 and more.
_MAX_BITS = 64
# Flat pictures have few edges for bits to differ in, so the colours must agree as well (mean difference of 0 to 255).
_MAX_COLOUR = 12.0


@dataclass(frozen=True)
class Print:
    """What is kept of a picture to compare it by: its file's md5, a difference hash, and a 16 x 16 colour copy."""

    file: str
    md5: str
    bits: int
    colours: bytes

    @classmethod
    def of(cls, image: Image.Image, file: str, md5: str) -> Print:
        """Take the print of an RGB picture."""
        colours = image.resize((_GRID, _GRID), Image.Resampling.BOX).tobytes()
        return cls(file, md5, _difference_hash(image), colours)

    def resembles(self, other: Print) -> bool:
        """Tell whether a person would call the two the same picture."""
        if (self.bits ^ other.bits).bit_count() > _MAX_BITS:
            return False
        distance = sum(abs(one - two) for one, two in zip(self.colours, other.colours, strict=True))
        return distance <= _MAX_COLOUR * len(self.colours)


def find_duplicates(prints: Iterable[Print]) -> list[str]:
    """Say in words which pictures are the same or look the same."""
    warnings = []
    for one, other in combinations(prints, 2):
        names = " and ".join(sorted((one.file, other.file)))
        if one.md5 == other.md5:
            warnings.append(f"{names} are the same file; remove one")
        elif one.resembles(other):
            warnings.append(f"{names} look the same; remove one, or use a picture that differs more")
    return sorted(warnings)


def _difference_hash(image: Image.Image) -> int:
    """Ask of each pixel of a small grey copy whether it is brighter than its neighbours right and below (dHash)."""
    side = _GRID + 1
    pixels = image.convert("L").resize((side, side), Image.Resampling.BOX).tobytes()
    bits = 0
    for y in range(_GRID):
        for here in range(y * side, y * side + _GRID):
            bits = bits << 2 | (pixels[here] > pixels[here + 1]) << 1 | (pixels[here] > pixels[here + side])
    return bits
