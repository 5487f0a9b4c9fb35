"""Verdict on a token: whether its held-out loss is lower than that of every baseline, and with what confidence.

The losses are paired: each row is one picture, view, timestep and noise, seen once with the token and once with each
baseline. What is judged is the relative improvement 1 - mean(token) / mean(baseline) with one-sided confidence bounds
(ratio estimator; Cochran, Sampling Techniques, 3rd edition, chapter 6). Rows of one picture are alike, so its variance
has two parts: between pictures, divided by the number of pictures, and between the rows of a picture.

With few pictures the part between pictures can hardly be measured. It is moderated (Smyth 2004): what was measured is
averaged with a prior of `PRIOR_WEIGHT` degrees of freedom that says that the standard deviation between pictures is
`PRIOR_SPREAD` of the improvement itself. Over six concepts of `tiny` it was 0.30 and 0.33
(docs/log/2026-11-quality.md). With one picture the prior is all there is; with many it hardly counts.

No TensorFlow here: the gate judges again from recorded rows (`conceptry.gate`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Literal

from trainer.metrics import RELEASED, LossRows
from trainer.student_t import quantile

Outcome = Literal["passed", "rejected", "undecided"]
PRIOR_SPREAD = 0.3
PRIOR_WEIGHT = 8


@dataclass(frozen=True)
class Bound:
    """Relative improvement over a baseline, a fraction, and its one-sided confidence bounds."""

    improvement: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Comparison:
    """Verdict against one baseline: `required` is the improvement that the lower bound has to exceed."""

    baseline: str
    bound: Bound
    required: float
    outcome: Outcome


def improvement_bound(
    baseline: Sequence[Sequence[float]], trained: Sequence[Sequence[float]], confidence: float
) -> Bound:
    """Bound the relative improvement, each side with `confidence`.

    Args:
        baseline: Losses by picture, each with the same number of rows, 2 at least.
        trained: The token's losses on the same rows.
        confidence: Of each bound, for example 0.95.
    """
    pictures, rows = len(baseline), len(baseline[0])
    level = fmean(map(fmean, baseline))
    improvement = 1.0 - fmean(map(fmean, trained)) / level
    residuals = [
        [((1.0 - improvement) * b - t) / level for b, t in zip(*pair, strict=True)]
        for pair in zip(baseline, trained, strict=True)
    ]
    within = fmean(map(variance, residuals)) / rows
    measured = max(0.0, sum(fmean(row) ** 2 for row in residuals) - (pictures - 1) * within)
    weight = PRIOR_WEIGHT + pictures - 1
    between = (PRIOR_WEIGHT * (PRIOR_SPREAD * improvement) ** 2 + measured) / weight
    error = (between + within) / pictures
    if error == 0.0:
        return Bound(improvement, improvement, improvement)
    # Satterthwaite's degrees of freedom for a sum of two estimated variances.
    freedom = (between + within) ** 2 / (between**2 / weight + within**2 / (pictures * (rows - 1)))
    margin = quantile(freedom, confidence) * math.sqrt(error)
    return Bound(improvement, improvement - margin, improvement + margin)


def compare(rows: LossRows, min_improvement: float, confidence: float) -> tuple[Comparison, ...]:
    """Judge the token against each baseline, the one that decides first: rejected, undecided, passed by least.

    Its loss must be lower than without training by `min_improvement`, and lower than the released version's at all. It
    is rejected against a baseline where the upper bound is under `min_improvement`: better by too little to matter.
    """
    found = []
    for name, losses in rows.baselines.items():
        bound = improvement_bound(losses, rows.trained, confidence)
        required = 0.0 if name == RELEASED else min_improvement
        outcome: Outcome = "undecided"
        if bound.lower > required:
            outcome = "passed"
        elif bound.upper <= min_improvement:
            outcome = "rejected"
        found.append(Comparison(name, bound, required, outcome))
    order: list[Outcome] = ["rejected", "undecided", "passed"]
    return tuple(sorted(found, key=lambda one: (order.index(one.outcome), one.bound.lower - one.required)))
