"""Perceptual hash of a picture: which pictures look the same, though their files differ.

No TensorFlow here: `tasks` warns of similar images with it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Hash = npt.NDArray[np.float64]
"""(16, 16, 3) with zero mean and unit norm: the scalar product of two hashes is their correlation, independent of
brightness and contrast."""
_GRID = 16
# A picture that was saved again, smaller, brighter or as a low-quality JPEG, correlates with the original at 0.99 or
# more; other photographs of the same cat at 0.6 or less; a plain disc at different places of a plain table at 0.98 or
# less.
_ALIKE = 0.985


def perceptual_hash(image: Image.Image) -> Hash:
    """Hash an RGB picture of any size."""
    small = np.asarray(image.resize((_GRID, _GRID), Image.Resampling.BOX), np.float64)
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1.0)


def correlation(one: Hash, other: Hash) -> float:
    """Correlate two pictures, or one with the other's mirror image if that is more alike."""
    return max(float(np.vdot(one, other)), float(np.vdot(one, other[:, ::-1])))


def look_alike(one: Hash, other: Hash) -> bool:
    """Tell whether two pictures look the same, mirrored or not."""
    return correlation(one, other) >= _ALIKE
