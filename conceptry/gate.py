"""The gate: whether a trained version is good enough for `release: latest`, judged on the trainer's losses."""

import math
from dataclasses import dataclass

from conceptry.concept import GateSpec
from conceptry.version import Gate
from trainer.metrics import TrainingMetrics


@dataclass(frozen=True)
class GateResult:
    """The judgement, with its reasons as sentences for cards and logs, whether it passed or not."""

    passed: bool
    reasons: tuple[str, ...]

    @property
    def verdict(self) -> Gate:
        """The word that a Version records."""
        return "passed" if self.passed else "rejected"


def judge(metrics: TrainingMetrics, gate: GateSpec, previous: float | None = None) -> GateResult:
    """Judge the trainer's metrics.json.

    Args:
        metrics: of the training; it has `clip` only where a CLIP model was.
        gate: what the concept asks for.
        previous: trained loss of the released version, given for scheduled retrainings, which must be better.
    """
    loss = metrics.loss
    if loss.trained is None or loss.initializer is None:
        return GateResult(False, ("the trainer reported no loss to judge by",))
    trained, initializer, on = loss.trained, loss.initializer, loss.on
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
    if gate.min_clip_gain is not None:
        nearer, reason = _nearer(metrics, gate.min_clip_gain)
        reasons.append(reason)
        passed = passed and nearer
    return GateResult(passed, tuple(reasons))


def _nearer(metrics: TrainingMetrics, wanted: float) -> tuple[bool, str]:
    """Whether the samples are nearer to the concept's pictures than the initializer's are, and the sentence for it."""
    score = metrics.clip_image
    if score is None:
        return False, "gate.min_clip_gain asks for CLIP scores, and where it was trained there was no CLIP model"
    gain, asked = score.gain, f"at least {wanted:g}" if wanted else "any gain"
    reason = f"CLIP score with {score.on}: {score}, a gain of {gain:.1f}; {asked} was asked for"
    return gain > 0 and gain >= wanted, reason


def _usable(loss: float) -> bool:
    return math.isfinite(loss) and loss >= 0
