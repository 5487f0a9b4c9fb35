"""The gate: whether a trained version is good enough for `release: latest`, judged on the trainer's losses."""

import math
from dataclasses import dataclass

from conceptry.concept import GateSpec
from conceptry.reasons import GateReason
from conceptry.version import Gate
from trainer.metrics import TrainingMetrics


@dataclass(frozen=True)
class GateFinding:
    """What one criterion of the gate found: the reason for programs, and a sentence for cards and logs."""

    reason: GateReason
    text: str


@dataclass(frozen=True)
class GateResult:
    """The judgement, with what each criterion found, whether the version passed or not."""

    passed: bool
    findings: tuple[GateFinding, ...]

    @property
    def verdict(self) -> Gate:
        """The word that a Version records."""
        return "passed" if self.passed else "rejected"


def judge(metrics: TrainingMetrics, gate: GateSpec, previous: float | None = None) -> GateResult:
    """Judge the trainer's metrics.json.

    Args:
        metrics: Of the training; it has `clip` only where a CLIP model was.
        gate: What the concept asks for.
        previous: Trained loss of the released version, given for scheduled retrainings, which must be better.
    """
    loss = metrics.loss
    if loss.trained is None or loss.initializer is None:
        return _rejected(GateReason.LOSS_MISSING, "the trainer reported no loss to judge by")
    trained, initializer, on = loss.trained, loss.initializer, loss.on
    if not (_usable(trained) and _usable(initializer)):
        return _rejected(GateReason.LOSS_NOT_FINITE, f"the loss on {on} is not a number: {initializer} -> {trained}")
    improvement = 1 - trained / initializer if initializer else 0.0
    figures = f"loss on {on} {initializer:.4f} -> {trained:.4f}, an improvement of {improvement:.1%}"
    passed = trained < initializer and improvement >= gate.min_improvement
    asked = f"at least {gate.min_improvement:.1%}" if gate.min_improvement else "any improvement"
    improved = GateReason.IMPROVED if passed else GateReason.NOT_IMPROVED
    findings = [GateFinding(improved, f"{figures}; {asked} was asked for")]
    if previous is not None:
        better = trained < previous
        reason = GateReason.BETTER_THAN_RELEASED if better else GateReason.NOT_BETTER_THAN_RELEASED
        relation = "lower than" if better else "not lower than"
        findings.append(GateFinding(reason, f"{trained:.4f} is {relation} the released version's {previous:.4f}"))
        passed = passed and better
    if gate.min_clip_gain is not None:
        gained = _clip_gain(metrics, gate.min_clip_gain)
        findings.append(gained)
        passed = passed and gained.reason is GateReason.CLIP_GAINED
    return GateResult(passed, tuple(findings))


def _rejected(reason: GateReason, text: str) -> GateResult:
    return GateResult(False, (GateFinding(reason, text),))


def _clip_gain(metrics: TrainingMetrics, wanted: float) -> GateFinding:
    """Compare how near the samples are to the concept's pictures, before and after the training."""
    score = metrics.clip_image
    if score is None:
        text = "gate.min_clip_gain asks for CLIP scores, and where it was trained there was no CLIP model"
        return GateFinding(GateReason.CLIP_MISSING, text)
    gain, asked = score.gain, f"at least {wanted:g}" if wanted else "any gain"
    reason = GateReason.CLIP_GAINED if gain > 0 and gain >= wanted else GateReason.CLIP_NOT_GAINED
    return GateFinding(reason, f"CLIP score with {score.on}: {score}, a gain of {gain:.1f}; {asked} was asked for")


def _usable(loss: float) -> bool:
    return math.isfinite(loss) and loss >= 0
