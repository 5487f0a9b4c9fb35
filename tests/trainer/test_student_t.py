"""The quantiles that the gate's bounds rest on are those of SciPy."""

import pytest
from scipy.special import stdtrit

from trainer.student_t import quantile


@pytest.mark.parametrize("probability", [0.01, 0.5, 0.6, 0.9, 0.95, 0.975, 0.99, 0.999, 0.999999])
@pytest.mark.parametrize("freedom", [0.3, 1.0, 1.7, 2.0, 3.42, 7.9, 12.0, 63.5, 511.0, 12_345.6])
def test_it_agrees_with_scipy(freedom: float, probability: float) -> None:
    assert quantile(freedom, probability) == pytest.approx(float(stdtrit(freedom, probability)), rel=1e-9, abs=1e-12)
