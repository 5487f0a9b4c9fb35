"""Release gate: whether the metrics of a trained version allow `release: latest` to serve it."""

import math
from dataclasses import dataclass

from conceptry.concept import GateSpec
from conceptry.reasons import GateReason
from conceptry.version import Gate
from trainer.metrics import TrainingMetrics


@dataclass(frozen=True)
class GateFinding:
    """Result of one criterion: a reason code for programs, and a sentence for cards and logs."""

    reason: GateReason
    text: str


@dataclass(frozen=True)
class GateResult:
    """Whether a version passed, with the result of each criterion."""

    passed: bool
    findings: tuple[GateFinding, ...]

    @property
    def verdict(self) -> Gate:
        """Verdict as `Version.gate` records it."""
        return "passed" if self.passed else "rejected"


def judge(metrics: TrainingMetrics, gate: GateSpec, previous: float | None = None) -> GateResult:
    """Judge the trainer's metrics.json.

    Args:
        metrics: Metrics of the training; `clip` is None where it ran without a CLIP model.
        gate: Thresholds of the concept.
        previous: Trained loss of the released version, which a scheduled retraining must undercut; None for others.
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
    threshold = f"at least {gate.min_improvement:.1%}" if gate.min_improvement else "any improvement"
    improved = GateReason.IMPROVED if passed else GateReason.NOT_IMPROVED
    findings = [GateFinding(improved, f"{figures}; {threshold} was asked for")]
    if previous is not None:
        better = trained < previous
        reason = GateReason.BETTER_THAN_RELEASED if better else GateReason.NOT_BETTER_THAN_RELEASED
        relation = "lower than" if better else "not lower than"
        findings.append(GateFinding(reason, f"{trained:.4f} is {relation} the released version's {previous:.4f}"))
        passed = passed and better
    if gate.min_clip_gain is not None:
        clip_finding = _clip_gain(metrics, gate.min_clip_gain)
        findings.append(clip_finding)
        passed = passed and clip_finding.reason is GateReason.CLIP_GAINED
    return GateResult(passed, tuple(findings))


def _rejected(reason: GateReason, text: str) -> GateResult:
    return GateResult(False, (GateFinding(reason, text),))


def _clip_gain(metrics: TrainingMetrics, required: float) -> GateFinding:
    """Compare the samples' CLIP score with the concept's images before and after training."""
    score = metrics.clip_image
    if score is None:
        text = "gate.min_clip_gain asks for CLIP scores, and where it was trained there was no CLIP model"
        return GateFinding(GateReason.CLIP_MISSING, text)
    gain, threshold = score.gain, f"at least {required:g}" if required else "any gain"
    reason = GateReason.CLIP_GAINED if gain > 0 and gain >= required else GateReason.CLIP_NOT_GAINED
    return GateFinding(reason, f"CLIP score with {score.on}: {score}, a gain of {gain:.1f}; {threshold} was asked for")


def _usable(loss: float) -> bool:
    return math.isfinite(loss) and loss >= 0
