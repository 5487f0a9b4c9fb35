"""Random weights that are the same wherever they are drawn; for the programs of this folder, and for tests."""

import zlib

import numpy as np


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw a tensor by its name, float32 as torch keeps it: of about unit gain, norms near one, small biases."""
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, "float32")
    if len(shape) == 1:
        return (1.0 + 0.1 * noise if name.endswith("weight") else 0.02 * noise).astype("float32")
    if "embedding" in name:
        return noise * np.float32(0.02)
    return noise * np.float32(np.prod(shape[1:]) ** -0.5)
