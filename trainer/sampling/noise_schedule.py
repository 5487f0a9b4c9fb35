"""The noise schedule that Stable Diffusion was trained with, and what both training and sampling compute from it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TIMESTEPS = 1000


def alphas_cumprod() -> npt.NDArray[np.float32]:
    """Compute the share of signal variance left at each timestep, float32 (1000,).

    The betas are "scaled linear": linear in their square roots, from 0.00085 to 0.012.
    """
    betas = np.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS, dtype="float64") ** 2
    return np.cumprod(1.0 - betas).astype("float32")
