"""Detection of identical and similar images, which weigh double in training and are never held out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from PIL import Image

from tasks.extras import is_installed
from trainer.data.look_rules import Comparable


@dataclass(frozen=True)
class Print:
    """Features by which an image is compared: md5 of the file, and perceptual hashes."""

    file: str
    md5: str
    look: Comparable

    @classmethod
    def of(cls, image: Image.Image, file: str, md5: str) -> Print:
        """Return the features of an RGB image."""
        return cls(file, md5, look_of(image))


def find_duplicates(prints: Iterable[Print]) -> list[str]:
    """Return a warning for each pair of images that are the same file or look the same."""
    warnings = []
    for one, other in combinations(prints, 2):
        names = " and ".join(sorted((one.file, other.file)))
        if one.md5 == other.md5:
            warnings.append(f"{names} are the same file; remove one")
        elif one.look.is_like(other.look):
            warnings.append(f"{names} look the same; remove one, or use an image that differs more")
    return sorted(warnings)


def look_of(image: Image.Image) -> Comparable:
    """Return by what an RGB image is compared; without NumPy, which only the trainer brings, it is slower."""
    if is_installed("numpy"):
        from trainer.data.perceptual_hash import Look

        return Look.of(image)
    from trainer.data.plain_look import PlainLook

    return PlainLook.of(image)
