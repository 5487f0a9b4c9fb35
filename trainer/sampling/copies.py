"""Samples that nearly equal a training picture: what was learned then is a picture and not a thing.

A sample is compared with crops of each picture, as training sees them, by the correlation of perceptual hashes. Among
different photographs of ten subjects the highest was 0.953 (210 pairs), and 0.96 finds 89 % of photographs that were
cropped, mirrored, blurred, recoloured and given noise (`python -m benchmarks.copies`). Pictures of one concept may
look alike, as two plain shapes do, so a copy must also be nearer to its picture than any other picture is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainer.data.look_rules import shrink
from trainer.data.perceptual_hash import hash_parts, mirrored, perceptual_hash
from trainer.data.pictures import Picture
from trainer.metrics import Copy

Pixels = npt.NDArray[np.uint8]
COPY = 0.96
_NEARER = 0.02
_SIDE = 64
_SCALES = (1.0, 0.95, 0.9)
_SHIFT = 0.05


def find_copies(samples: Sequence[Pixels], pictures: Sequence[Picture]) -> tuple[Copy, ...]:
    """Find the samples that nearly equal a picture, each with the nearest one.

    Args:
        samples: uint8 (H, W, 3) each.
        pictures: Those that were trained on, of any size.
    """
    crops = [_crops(picture) for picture in pictures]
    between = [[_nearness(picture.pixels, of) for of in crops] for picture in pictures]
    found = []
    for index, sample in enumerate(samples):
        near = [_nearness(sample, of) for of in crops]
        nearest = int(np.argmax(near))
        others = [row[nearest] for number, row in enumerate(between) if number != nearest]
        if near[nearest] >= COPY and near[nearest] >= max(others, default=0.0) + _NEARER:
            found.append(Copy(sample=index, picture=pictures[nearest].file, correlation=round(near[nearest], 3)))
    return tuple(found)


def _crops(picture: Picture) -> npt.NDArray[np.float64]:
    """Hash square crops of 90 to 100 % of the shorter side, all over the picture: (N, 768)."""
    image = shrink(Image.fromarray(picture.pixels), _SIDE)
    sizes = ((min(image.size) * scale,) * 2 for scale in _SCALES)
    return hash_parts(image, sizes, _SHIFT)


def _nearness(pixels: Pixels, crops: npt.NDArray[np.float64]) -> float:
    """Correlate a picture's middle square, as it is and mirrored, with the nearest crop."""
    image = shrink(Image.fromarray(pixels), _SIDE)
    side = min(image.size)
    left, top = ((extent - side) / 2 for extent in image.size)
    one = perceptual_hash(image, (left, top, left + side, top + side))
    return float(np.max(crops @ np.stack([one, mirrored(one)]).T))
