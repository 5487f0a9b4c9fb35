"""Solvers of the diffusion's ODE, each as a table of numbers: what a step multiplies is known before the first one.

A step from x, with the noise e that the UNet predicts there, is linear in what it has:

    clean = (x - sigma e) / alpha        or alpha x - sigma v, where it predicts the velocity v
    x'    = carry x + now clean + before (clean of the step before)

So a whole drawing is one loop over the rows of `table`, and another solver is another table. Latents after every step
are those of diffusers' schedulers with the settings that Stable Diffusion 1 and 2 are published with, compared by
`python -m benchmarks.schedulers`:

    ddim          DDIM (Song et al. 2021), DDIMScheduler: as in the original program the first timestep is 951 of 20
                  steps, and what is left at the end has the noise of timestep 0, not none; needs some 50 steps
    dpm++         DPM-Solver++(2M) (Lu et al. 2022), DPMSolverMultistepScheduler: the second order of DDIM, at one call
                  of the UNet a step; from the last timestep to no noise
    dpm++karras   the same with `use_karras_sigmas`: more steps lie where detail comes in (Karras et al. 2022)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from trainer.sampling.noise_schedule import TIMESTEPS, alphas_cumprod

Solver = Literal["dpm++", "dpm++karras", "ddim"]
SOLVERS: tuple[Solver, ...] = ("dpm++", "dpm++karras", "ddim")
COLUMNS = ("timestep", "alpha", "sigma", "carry", "now", "before")
_RHO = 7.0


def table(solver: Solver, steps: int) -> npt.NDArray[np.float32]:
    """Compute each step's factors, float32 (steps, 6): see COLUMNS. The last step gives the latents to decode."""
    timesteps, alpha, sigma = _LEVELS[solver](steps)
    rows = np.zeros((steps, len(COLUMNS)))
    rows[:, 0], rows[:, 1], rows[:, 2] = timesteps, alpha[:-1], sigma[:-1]
    half_log_snr = np.log(alpha[:-1]) - np.log(sigma[:-1])
    for index in range(steps):
        carry = sigma[index + 1] / sigma[index]
        whole = alpha[index + 1] - alpha[index] * carry
        before = 0.0
        if solver != "ddim" and 0 < index < steps - 1:
            h, h_before = np.diff(half_log_snr)[[index, index - 1]]
            before = -0.5 * h / h_before
        rows[index, 3:] = carry, whole * (1.0 - before), whole * before
    return rows.astype("float32")


Levels = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Timesteps (steps,), and signal and noise (steps + 1,), the last one of what is to be decoded; each float64."""


def _leading(steps: int) -> Levels:
    """Space timesteps evenly by a whole number, and end at timestep 0: Stable Diffusion's `steps_offset` is 1."""
    timesteps = np.arange(steps)[::-1] * (TIMESTEPS // steps) + 1
    signal = alphas_cumprod().astype("float64")[[*timesteps, 0]]
    return timesteps.astype("float64"), np.sqrt(signal), np.sqrt(1.0 - signal)


def _even(steps: int) -> Levels:
    """Space timesteps evenly, from the last one to the clean picture."""
    timesteps = np.linspace(TIMESTEPS - 1, 0, steps + 1).round()[:-1]
    signal = np.append(alphas_cumprod().astype("float64")[timesteps.astype(int)], 1.0)
    return timesteps, np.sqrt(signal), np.sqrt(1.0 - signal)


def _karras(steps: int) -> Levels:
    """Space noise levels evenly in their seventh root; the UNet is told the nearest timestep."""
    signal = alphas_cumprod().astype("float64")
    ratio = np.sqrt((1.0 - signal) / signal)
    ends = ratio[[-1, 0]] ** (1.0 / _RHO)
    levels = np.linspace(ends[0], ends[1], steps) ** _RHO
    timesteps = np.interp(np.log(levels), np.log(ratio), np.arange(TIMESTEPS)).round()
    levels = np.append(levels, 0.0)
    alpha = 1.0 / np.sqrt(1.0 + levels**2)
    return timesteps, alpha, levels * alpha


_LEVELS: dict[Solver, Callable[[int], Levels]] = {"dpm++": _even, "dpm++karras": _karras, "ddim": _leading}
