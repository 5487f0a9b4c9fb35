"""Losses by row as the trainer records them, for tests of what is judged by them."""

from collections.abc import Mapping

import numpy as np

from trainer.metrics import HELD_OUT, Losses, LossRows

UNTRAINED = {"initializer": 0.1, "mean": 0.12, "empty_prompt": 0.11}
"""Mean losses of what needs no training."""


def make_losses(
    trained: float,
    *,
    baselines: Mapping[str, float] = UNTRAINED,
    released: float | None = None,
    pictures: int = 2,
    each: int = 32,
    noise: float = 0.0,
    on: str = HELD_OUT,
) -> Losses:
    """Make losses with these means.

    Args:
        trained: Mean loss with the token.
        baselines: Mean losses of the baselines.
        released: Mean loss of the released version, v1; None for none.
        pictures: How many were judged.
        each: Rows of a picture.
        noise: Standard deviation of a row's improvement, a fraction; their mean is exact.
        on: Which pictures they are, in words.
    """
    rng = np.random.default_rng(0)
    level = rng.uniform(0.2, 1.8, (pictures, each))
    level /= level.mean()
    off = rng.standard_normal((pictures, each)) * noise * trained
    means = {**baselines, **({"released": released} if released is not None else {})}
    rows = LossRows(
        trained=_rows(level * trained + off - off.mean()),
        baselines={name: _rows(level * mean) for name, mean in means.items()},
    )
    improvement = 1 - trained / means["initializer"]
    return Losses(
        initializer=means["initializer"],
        trained=trained,
        improvement=improvement,
        on=on,
        rows=rows,
        released=None if released is None else "v1",
    )


def _rows(values: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in values)
