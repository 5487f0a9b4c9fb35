"""What passes the gate, and the reason that each criterion gives."""

import math
from typing import Any

import pytest

from conceptry.concept import GateSpec
from conceptry.gate import judge
from trainer.metrics import ClipScore, ClipScores, Losses, TrainingMetrics


def metrics(initializer: float | None, trained: float | None, **others: Any) -> TrainingMetrics:
    return TrainingMetrics(loss=Losses(initializer=initializer, trained=trained), **others)


@pytest.mark.parametrize(
    ("initializer", "trained", "wanted", "previous", "passed", "codes", "words"),
    [
        (0.1, 0.05, 0.0, None, True, "Improved", "0.0500, an improvement of 50.0%; any"),
        (0.1, 0.1, 0.0, None, False, "NotImproved", "0.1000, an improvement of 0.0%; any"),
        (0.1, 0.2, 0.0, None, False, "NotImproved", "0.2000, an improvement of -100.0%; any"),
        (0.1, 0.05, 0.4, None, True, "Improved", "at least 40.0% was asked for"),
        (0.1, 0.08, 0.4, None, False, "NotImproved", "at least 40.0% was asked for"),
        (
            0.1,
            0.05,
            0.0,
            0.06,
            True,
            "Improved BetterThanReleased",
            "0.0500 is lower than the released version's 0.0600",
        ),
        (
            0.1,
            0.05,
            0.0,
            0.05,
            False,
            "Improved NotBetterThanReleased",
            "0.0500 is not lower than the released version's 0.0500",
        ),
        (
            0.1,
            0.2,
            0.0,
            0.3,
            False,
            "NotImproved BetterThanReleased",
            "0.2000 is lower than the released version's 0.3000",
        ),
        (0.0, 0.0, 0.0, None, False, "NotImproved", "any improvement was asked for"),
        (0.1, math.nan, 0.0, None, False, "LossNotFinite", "is not a number: 0.1 -> nan"),
        (math.inf, 0.1, 0.0, None, False, "LossNotFinite", "is not a number: inf -> 0.1"),
        (0.1, -1.0, 0.0, None, False, "LossNotFinite", "is not a number: 0.1 -> -1"),
        (None, 0.1, 0.0, None, False, "LossMissing", "the trainer reported no loss to judge by"),
    ],
)
def test_judge(
    initializer: float | None,
    trained: float | None,
    wanted: float,
    previous: float | None,
    passed: bool,
    codes: str,
    words: str,
) -> None:
    result = judge(metrics(initializer, trained), GateSpec(min_improvement=wanted), previous)
    assert result.passed is passed
    assert result.verdict == ("passed" if passed else "rejected")
    assert [finding.reason for finding in result.findings] == codes.split()
    assert words in "; ".join(finding.text for finding in result.findings)


def test_metrics_without_losses_do_not_pass() -> None:
    result = judge(TrainingMetrics(), GateSpec())
    assert (result.passed, [finding.reason for finding in result.findings]) == (False, ["LossMissing"])


@pytest.mark.parametrize("on", ["held-out images", "training images"])
def test_the_reason_says_what_was_judged_on(on: str) -> None:
    measured = TrainingMetrics(loss=Losses(initializer=0.1, trained=0.05, on=on))
    assert judge(measured, GateSpec()).findings[0].text.startswith(f"loss on {on} 0.1000 -> 0.0500")


@pytest.mark.parametrize(
    ("initializer", "trained", "wanted", "passed", "code", "words"),
    [
        (
            60.0,
            74.5,
            0.0,
            True,
            "ClipGained",
            "60.0 with the initializer, 74.5 with the token, a gain of 14.5; any gain was asked",
        ),
        (60.0, 60.0, 0.0, False, "ClipNotGained", "a gain of 0.0; any gain was asked for"),
        (60.0, 62.0, 2.0, True, "ClipGained", "a gain of 2.0; at least 2 was asked for"),
        (60.3, 62.3, 2.0, True, "ClipGained", "CLIP score with held-out images: 60.3 with the initializer"),
        (60.0, 61.9, 2.0, False, "ClipNotGained", "a gain of 1.9; at least 2 was asked for"),
        (60.0, math.nan, 0.0, False, "ClipMissing", "there was no CLIP model"),
        (None, 70.0, 0.0, False, "ClipMissing", "there was no CLIP model"),
    ],
)
def test_samples_must_be_nearer_to_the_pictures_where_the_gate_asks_for_that(
    initializer: float | None, trained: float, wanted: float, passed: bool, code: str, words: str
) -> None:
    image = ClipScore(initializer=initializer, trained=trained, on="held-out images")
    measured = metrics(0.1, 0.05, clip=ClipScores(image=image))
    result = judge(measured, GateSpec(min_clip_gain=wanted))
    assert result.passed is passed
    assert result.findings[-1].reason == code
    assert words in result.findings[-1].text
    assert judge(measured, GateSpec()) == judge(metrics(0.1, 0.05), GateSpec()), "without the key it is not judged"


def test_a_gate_that_asks_for_clip_is_not_passed_without() -> None:
    result = judge(metrics(0.1, 0.05), GateSpec(min_clip_gain=0.0))
    assert [finding.reason for finding in result.findings] == ["Improved", "ClipMissing"]
    assert not result.passed
