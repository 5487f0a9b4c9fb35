"""The confidence bounds of a verdict: how often they hold, and what they follow."""

import numpy as np
import pytest

from tests.support.losses import make_losses
from trainer.verdict import Bound, compare, improvement_bound

IMPROVEMENT = 0.2


def drawn(rng: np.random.Generator, pictures: int, each: int, spread: float) -> Bound:
    """Bound an improvement of 20 % that differs between pictures by `spread`, and between rows by as much again."""
    level = rng.uniform(0.02, 0.2, (pictures, each))
    true = IMPROVEMENT + spread * rng.standard_normal((pictures, 1)) + spread * rng.standard_normal((pictures, each))
    return improvement_bound(level.tolist(), (level * (1 - true)).tolist(), 0.9)


@pytest.mark.parametrize(("pictures", "each"), [(1, 32), (2, 32), (5, 8), (20, 8)])
def test_the_bounds_hold_as_often_as_they_say(pictures: int, each: int) -> None:
    # The prior says that improvements differ between pictures by 0.3 of their mean: here by just that.
    rng = np.random.default_rng(pictures)
    bounds = [drawn(rng, pictures, each, 0.3 * IMPROVEMENT) for _ in range(400)]
    assert np.mean([bound.lower <= IMPROVEMENT for bound in bounds]) >= 0.88
    # The prior's spread goes with the improvement, so a picture that improves less also says that others do.
    assert np.mean([bound.upper >= IMPROVEMENT for bound in bounds]) >= 0.8
    assert np.mean([bound.improvement for bound in bounds]) == pytest.approx(IMPROVEMENT, abs=0.01)


def test_more_pictures_say_more_and_more_rows_of_one_picture_do_not() -> None:
    rng = np.random.default_rng(0)

    def width(pictures: int, each: int) -> float:
        return float(np.mean([b.upper - b.lower for b in (drawn(rng, pictures, each, 0.06) for _ in range(50))]))

    assert width(8, 32) < 0.5 * width(1, 32)
    assert width(1, 512) > 0.8 * width(1, 32)


def test_pictures_that_disagree_widen_the_bounds() -> None:
    level = np.full((4, 16), 0.1)
    level[:, ::2] = 0.12
    alike = improvement_bound(level.tolist(), (0.8 * level).tolist(), 0.95)
    apart = improvement_bound(level.tolist(), (level * [[0.3], [1.3], [0.3], [1.3]]).tolist(), 0.95)
    assert alike.improvement == pytest.approx(apart.improvement) == pytest.approx(0.2)
    assert apart.lower < 0 < alike.lower


def test_without_any_noise_the_bound_is_the_improvement() -> None:
    assert improvement_bound([[0.1, 0.2]], [[0.1, 0.2]], 0.95) == Bound(0.0, 0.0, 0.0)


def test_the_baseline_that_decides_comes_first() -> None:
    rows = make_losses(0.09, baselines={"initializer": 0.12, "mean": 0.0901, "empty_prompt": 0.13}).rows
    assert rows is not None
    found = compare(rows, 0.05, 0.95)
    assert [(one.baseline, one.outcome) for one in found] == [
        ("mean", "rejected"), ("initializer", "passed"), ("empty_prompt", "passed")
    ]  # fmt: skip
