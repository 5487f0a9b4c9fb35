"""Quantiles of Student's t-distribution, without SciPy: the gate needs nothing else of its 140 MB.

The distribution function is a regularised incomplete beta function, computed by its continued fraction: DLMF 8.17.22,
https://dlmf.nist.gov/8.17#v, evaluated by Lentz's method.
"""

from __future__ import annotations

import math

_TINY = 1e-300
_STEPS = 10_000
_ACCURACY = 1e-15


def quantile(freedom: float, probability: float) -> float:
    """Return the t that a variable stays under with a probability.

    Args:
        freedom: Degrees of freedom, above 0; not necessarily a whole number.
        probability: Above 0 and below 1.
    """
    if probability < 0.5:
        return -quantile(freedom, 1.0 - probability)
    low, high = 0.0, 1.0
    while _below(freedom, high) < probability:
        low, high = high, 2.0 * high
    while high - low > _ACCURACY * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if _below(freedom, middle) < probability else (low, middle)
    return high


def _below(freedom: float, t: float) -> float:
    """Return the probability that a variable is under `t`, which is not negative."""
    return 1.0 - _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):  # where the fraction of the other end converges faster
        return 1.0 - _incomplete_beta(b, a, 1.0 - x)
    log = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log) * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    """Return 1 / (1 + d1 / (1 + d2 / ...)) with the coefficients of DLMF 8.17.22."""
    c, d = 1.0, 1.0 / _apart(1.0 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        factor = 1.0
        for coefficient in (even, odd):
            d = 1.0 / _apart(1.0 + coefficient * d)
            c = _apart(1.0 + coefficient / c)
            factor = c * d
            value *= factor
        if abs(factor - 1.0) < _ACCURACY:
            break
    return value


def _apart(value: float) -> float:
    """Return a value that can be divided by."""
    return value if abs(value) > _TINY else _TINY
