"""The gate: whether a trained version is good enough for `release: latest`, judged on the trainer's losses."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conceptry.concept import GateSpec
from conceptry.version import Gate


@dataclass(frozen=True)
class GateResult:
    """The judgement, with its reasons as sentences for cards and logs, whether it passed or not."""

    passed: bool
    reasons: tuple[str, ...]

    @property
    def verdict(self) -> Gate:
        """The word that a Version records."""
        return "passed" if self.passed else "rejected"


def judge(metrics: Mapping[str, Any], gate: GateSpec, previous: float | None = None) -> GateResult:
    """Judge the trainer's metrics.json.

    Args:
        metrics: `loss.initializer` and `loss.trained` are mean squared errors of the predicted noise, on the same
            images (`loss.on` says which), noise and timesteps.
        gate: what the concept asks for.
        previous: trained loss of the released version, given for scheduled retrainings, which must be better.
    """
    losses = metrics.get("loss")
    losses = losses if isinstance(losses, Mapping) else {}
    trained, initializer, on = losses.get("trained"), losses.get("initializer"), losses.get("on", "held-out images")
    if trained is None or initializer is None:
        return GateResult(False, ("the trainer reported no loss to judge by",))
    if not (_usable(trained) and _usable(initializer)):
        return GateResult(False, (f"the loss on {on} is not a number: {initializer} -> {trained}",))
    improvement = 1 - trained / initializer if initializer else 0.0
    figures = f"loss on {on} {initializer:.4f} -> {trained:.4f}, an improvement of {improvement:.1%}"
    passed = trained < initializer and improvement >= gate.min_improvement
    wanted = f"at least {gate.min_improvement:.1%}" if gate.min_improvement else "any improvement"
    reasons = [f"{figures}; {wanted} was asked for"]
    if previous is not None:
        better = trained < previous
        relation = "lower than" if better else "not lower than"
        reasons.append(f"{trained:.4f} is {relation} the released version's {previous:.4f}")
        passed = passed and better
    return GateResult(passed, tuple(reasons))


def _usable(loss: object) -> bool:
    return isinstance(loss, (int, float)) and not isinstance(loss, bool) and math.isfinite(loss) and loss >= 0
