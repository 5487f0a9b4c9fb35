"""Release gate: whether the metrics of a trained version allow `release: latest` to serve it.

The statistics are those of `trainer.verdict`, by which the trainer decides how many rows it needs. They are repeated
here on the recorded rows, so that another threshold judges a version again without a GPU (conceptry/judgement.py).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from conceptry.concept import BaseModel, GateSpec
from conceptry.reasons import GateReason
from conceptry.version import Evidence, Gate, Thresholds
from trainer.metrics import HELD_OUT, LEFT_OUT, RELEASED, Losses, LossRows, TrainingMetrics
from trainer.verdict import Comparison, compare

COPIED = 0.75
"""Share of the samples that must be copies: single ones may equal an image by chance, as plain shapes do."""
_REASONS: dict[tuple[Gate, bool], GateReason] = {
    ("passed", False): GateReason.IMPROVED,
    ("rejected", False): GateReason.NOT_IMPROVED,
    ("undecided", False): GateReason.IMPROVEMENT_UNCLEAR,
    ("passed", True): GateReason.BETTER_THAN_RELEASED,
    ("rejected", True): GateReason.NOT_BETTER_THAN_RELEASED,
    ("undecided", True): GateReason.UNCLEAR_AGAINST_RELEASED,
}


@dataclass(frozen=True)
class GateFinding:
    """Result of one criterion: a reason code for programs, its verdict, and a sentence for cards and logs."""

    reason: GateReason
    verdict: Gate
    text: str


@dataclass(frozen=True)
class GateResult:
    """Result of each criterion, the comparison with the baseline that is hardest to beat, and the thresholds.

    The finding that decides comes first: a version is rejected by any criterion and passed by all.
    """

    findings: tuple[GateFinding, ...]
    evidence: Evidence | None = None
    judged: Thresholds | None = None

    @property
    def verdict(self) -> Gate:
        """Verdict as `Version.gate` records it."""
        return self.findings[0].verdict


def thresholds(gate: GateSpec, base: BaseModel) -> Thresholds:
    """Return the thresholds of a concept: `min_improvement` is the base model's default if the concept has none."""
    required = base.min_improvement if gate.min_improvement is None else gate.min_improvement
    return Thresholds(required, gate.confidence, gate.min_clip_gain)


def judge(metrics: TrainingMetrics, gate: Thresholds) -> GateResult:
    """Judge the trainer's metrics.json.

    Args:
        metrics: Metrics of the training; `clip` is None where it ran without a CLIP model.
        gate: Thresholds, see `thresholds`.
    """
    return replace(_judge(metrics, gate), judged=gate)


def _judge(metrics: TrainingMetrics, gate: Thresholds) -> GateResult:
    loss = metrics.loss
    if loss.trained is None or loss.initializer is None:
        return _rejected(GateReason.LOSS_MISSING, "the trainer reported no loss to judge by")
    if not (_usable(loss.trained) and _usable(loss.initializer)):
        text = f"the loss on {loss.on} is not a number: {loss.initializer} -> {loss.trained}"
        return _rejected(GateReason.LOSS_NOT_FINITE, text)
    others = [*_undrawable(metrics), *_copies(metrics), *_clip_gains(metrics, gate)]
    if loss.rows is None:
        text = "the trainer is of an older release and reported no baselines: update its image, and train again"
        return _result([GateFinding(GateReason.BASELINES_MISSING, "undecided", text), *others])
    compared = compare(loss.rows, gate.min_improvement, gate.confidence)
    if loss.on not in (HELD_OUT, LEFT_OUT):
        return _result([_nothing_held_out(metrics, compared, gate), *others])
    untrained = next(one for one in compared if one.baseline != RELEASED)
    released = [one for one in compared if one.baseline == RELEASED]
    findings = [_finding(one, loss, loss.rows, gate) for one in (untrained, *released)]
    return _result([*findings, *others], _evidence(compared[0], gate))


def _result(findings: Sequence[GateFinding], evidence: Evidence | None = None) -> GateResult:
    order: list[Gate] = ["rejected", "undecided", "passed"]
    return GateResult(tuple(sorted(findings, key=lambda finding: order.index(finding.verdict))), evidence)


def _rejected(reason: GateReason, text: str) -> GateResult:
    return GateResult((GateFinding(reason, "rejected", text),))


def _evidence(one: Comparison, gate: Thresholds) -> Evidence:
    improvement, lower, upper = (round(value, 4) for value in (one.bound.improvement, one.bound.lower, one.bound.upper))
    return Evidence(one.baseline, improvement, lower, upper, one.required, gate.confidence)


def _finding(one: Comparison, loss: Losses, rows: LossRows, gate: Thresholds) -> GateFinding:
    which = (
        "the held-out loss" if loss.on == HELD_OUT else f"the loss on {loss.on}, after short trainings on the others,"
    )
    text = f"{which} is {_evidence(one, gate).words(loss.released)}"
    if one.outcome == "undecided":
        images = len(rows.trained)
        of = "held-out " if loss.on == HELD_OUT else ""
        text += f": {images} {of}image{'s' if images > 1 else ''} cannot tell. {TO_DECIDE}"
    return GateFinding(_REASONS[one.outcome, one.baseline == RELEASED], one.outcome, text)


TO_DECIDE = (
    "Add images (about a third is held out, four at most) or raise `training.held_out`; or look at the samples and "
    "release the version by its number"
)
"""What a user can do about an undecided version."""


def _nothing_held_out(metrics: TrainingMetrics, compared: Sequence[Comparison], gate: Thresholds) -> GateFinding:
    """Reject what fails even on the images that it was trained on; what succeeds there is undecided."""
    hardest = next(one for one in compared if one.baseline != RELEASED)
    if hardest.outcome == "rejected":
        text = f"even on the images that were trained on, the loss is {_evidence(hardest, gate).words()}"
        return GateFinding(GateReason.NOT_IMPROVED, "rejected", text)
    count = metrics.images.train
    trained = "" if count is None else f" of the {count}"
    text = (
        f"none{trained} images was held out to judge by: they look the same, or `training.held_out` is 0. At least 2 "
        f"different ones are needed. {TO_DECIDE}"
    )
    if count == 1:
        text = f"there is one image, and nothing to judge by: at least 2 different ones are needed. {TO_DECIDE}"
    return GateFinding(GateReason.NOTHING_HELD_OUT, "undecided", text)


def _undrawable(metrics: TrainingMetrics) -> Iterator[GateFinding]:
    """Reject what the base model cannot draw: a lower loss says nothing then."""
    if metrics.undrawable:
        yield GateFinding(GateReason.UNDRAWABLE, "rejected", metrics.undrawable)


def _copies(metrics: TrainingMetrics) -> Iterator[GateFinding]:
    """Name the images that the samples copy, if enough of them do."""
    copies, count = metrics.copies, len(metrics.samples)
    if count and len(copies) >= COPIED * count:
        names = ", ".join(sorted({copy.picture for copy in copies}))
        text = (
            f"{len(copies)} of {count} samples nearly equal an image that was trained on ({names}): what was learned "
            "is a picture, not a thing. Add images that differ more, or look at the samples and release the version by "
            "its number"
        )
        yield GateFinding(GateReason.COPIES, "undecided", text)


def _clip_gains(metrics: TrainingMetrics, gate: Thresholds) -> Iterator[GateFinding]:
    """Compare the samples' CLIP score with the concept's images before and after training, if the gate asks for it."""
    if gate.min_clip_gain is not None:
        yield _clip_gain(metrics, gate.min_clip_gain)


def _clip_gain(metrics: TrainingMetrics, required: float) -> GateFinding:
    score = metrics.clip_image
    if score is None:
        text = "gate.min_clip_gain asks for CLIP scores, and where it was trained there was no CLIP model"
        return GateFinding(GateReason.CLIP_MISSING, "rejected", text)
    gain, threshold = score.gain, f"at least {required:g}" if required else "any gain"
    passed = gain > 0 and gain >= required
    text = f"CLIP score with {score.on}: {score}, a gain of {gain:.1f}; {threshold} was asked for"
    reason = GateReason.CLIP_GAINED if passed else GateReason.CLIP_NOT_GAINED
    return GateFinding(reason, "passed" if passed else "rejected", text)


def _usable(loss: float) -> bool:
    return math.isfinite(loss) and loss >= 0
