"""Solvers of the diffusion's ODE, each as a table of numbers: what a step multiplies is known before the first one.

A step from x, with the noise e that the UNet predicts there, is linear in what it has:

    clean = (x - sigma e) / alpha        or alpha x - sigma v, where it predicts the velocity v
    x'    = carry x + now clean + before (clean of the step before)

So a whole drawing is one loop over the rows of `table`, and another solver is another table. With `before` = 0 this is
DDIM (Song et al. 2021), which is the first order of DPM-Solver++ (Lu et al. 2022); 2M is its second order, at one call
of the UNet a step. Karras et al. (2022) space the noise levels so that more steps lie where detail comes in.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from trainer.sampling.noise_schedule import TIMESTEPS, alphas_cumprod

Solver = Literal["dpm++", "dpm++karras", "ddim"]
SOLVERS: tuple[Solver, ...] = ("dpm++", "dpm++karras", "ddim")
COLUMNS = ("timestep", "alpha", "sigma", "carry", "now", "before")
_RHO = 7.0


def table(solver: Solver, steps: int) -> npt.NDArray[np.float32]:
    """Compute each step's factors, float32 (steps, 6): see COLUMNS. The last step gives the clean latents."""
    alpha, sigma, timesteps = _karras(steps) if solver == "dpm++karras" else _even(steps)
    half_log_snr = np.log(alpha) - np.log(sigma)
    rows = np.zeros((steps, len(COLUMNS)))
    rows[:, 0], rows[:, 1], rows[:, 2] = timesteps, alpha[:steps], sigma[:steps]
    for index in range(steps - 1):
        h = half_log_snr[index + 1] - half_log_snr[index]
        whole = -alpha[index + 1] * np.expm1(-h)
        before = 0.0
        if solver != "ddim" and index > 0:
            before = -0.5 * h / (half_log_snr[index] - half_log_snr[index - 1])
        rows[index, 3:] = sigma[index + 1] / sigma[index], whole * (1.0 - before), whole * before
    rows[-1, 3:] = 0.0, 1.0, 0.0
    return rows.astype("float32")


Levels = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _even(steps: int) -> Levels:
    """Space timesteps evenly; return signal, noise and timesteps, each float64 (steps,)."""
    timesteps = np.linspace(TIMESTEPS - 1, 0, steps + 1).round()[:-1]
    signal = alphas_cumprod().astype("float64")[timesteps.astype(int)]
    return np.sqrt(signal), np.sqrt(1.0 - signal), timesteps


def _karras(steps: int) -> Levels:
    """Space noise levels evenly in their seventh root; the UNet takes timesteps between two integers, too."""
    signal = alphas_cumprod().astype("float64")
    ratio = np.sqrt((1.0 - signal) / signal)
    ends = ratio[[-1, 0]] ** (1.0 / _RHO)
    levels = np.linspace(ends[0], ends[1], steps) ** _RHO
    timesteps = np.interp(np.log(levels), np.log(ratio), np.arange(TIMESTEPS))
    alpha = 1.0 / np.sqrt(1.0 + levels**2)
    return alpha, levels * alpha, timesteps
