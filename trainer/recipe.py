"""The recipe that a token is trained with, and the number that says which one it was."""

from __future__ import annotations

from dataclasses import dataclass

RECIPE = 5
"""Raised whenever the same pictures and settings would train another result; part of every training fingerprint."""


@dataclass(frozen=True)
class Recipe:
    """Training settings that concept.yaml does not offer: one choice won on all concepts (docs/log/2026-11-quality.md).

    `initialization`: "row" starts from the initializer's row of the table, "output" from what the text encoder makes of
    it (Cross Initialization, Pang et al. 2023), scaled to the row's length, "mean" from the mean of the table.
    `fallback`: start from the mean of the table where that fits the first batch better than the initializer.
    `timestep_range`: timesteps from the first up to, but not including, the second are drawn.
    `timesteps`: "spread" draws one from each of `batch_size` equal parts of that range, "uniform" from all of it.
    `min_snr`: the gamma of min-SNR weighting (Hang et al. 2023); 0 is none.
    `schedule`: of the learning rate, "cosine" down to a tenth or "constant". `betas` are Adam's.
    `compile` is whether XLA compiles a step; None for GPUs only.
    """

    initialization: str = "row"
    fallback: bool = True
    timestep_range: tuple[int, int] = (150, 900)
    timesteps: str = "spread"
    min_snr: float = 0.0
    schedule: str = "cosine"
    betas: tuple[float, float] = (0.9, 0.99)
    compile: bool | None = None


DEFAULT = Recipe()
