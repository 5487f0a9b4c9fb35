"""What the gate says of losses: passed, rejected or undecided, and the reason of each criterion."""

import math
from typing import Any

import pytest

from conceptry.concept import BaseModel, GateSpec
from conceptry.gate import judge, thresholds
from tests.support.losses import make_losses
from trainer.metrics import LEFT_OUT, ClipScore, ClipScores, Copy, ImageCounts, Losses, Sample, TrainingMetrics

BASE = BaseModel("tiny", "d" * 64, 4, 64, min_improvement=0.05)


def judged(losses: Losses, gate: GateSpec | None = None, **others: Any) -> tuple[str, list[str], str]:
    """Return the verdict, the reason codes and the words of a judgement."""
    result = judge(TrainingMetrics(loss=losses, **others), thresholds(gate or GateSpec(), BASE))
    return result.verdict, [finding.reason for finding in result.findings], "; ".join(f.text for f in result.findings)


@pytest.mark.parametrize(
    ("trained", "noise", "gate", "verdict", "code", "words"),
    [
        (0.07, 0.1, {}, "passed", "Improved", "30.0% lower than with the initializer"),
        (0.1, 0.1, {}, "rejected", "NotImproved", "0.0% lower than with the initializer"),
        (0.2, 0.1, {}, "rejected", "NotImproved", "100.0% higher than with the initializer"),
        (0.09, 0.6, {}, "undecided", "ImprovementUnclear", "2 held-out images cannot tell. Add images"),
        (0.09, 0.1, {"min_improvement": 0.0}, "passed", "Improved", "anything lower is enough"),
        (0.07, 0.1, {"min_improvement": 0.5}, "rejected", "NotImproved", "more than 50.0% is needed"),
        (0.07, 0.1, {"confidence": 0.9999}, "undecided", "ImprovementUnclear", "with 100% confidence"),
    ],
)
def test_the_bounds_decide(
    trained: float, noise: float, gate: dict[str, float], verdict: str, code: str, words: str
) -> None:
    found, codes, text = judged(make_losses(trained, noise=noise), GateSpec(**gate))
    assert (found, codes) == (verdict, [code])
    assert words in text


@pytest.mark.parametrize("best", ["initializer", "mean", "empty_prompt", "class_prompt"])
def test_the_best_of_what_needs_no_training_has_to_be_beaten(best: str) -> None:
    baselines = {"initializer": 0.3, "mean": 0.3, "empty_prompt": 0.3, "class_prompt": 0.3} | {best: 0.1}
    result = judge(TrainingMetrics(loss=make_losses(0.1, baselines=baselines)), thresholds(GateSpec(), BASE))
    assert result.verdict == "rejected"
    assert result.evidence is not None
    assert (result.evidence.baseline, result.evidence.improvement) == (best, 0.0)


@pytest.mark.parametrize(
    ("released", "noise", "verdict", "codes"),
    [
        (0.08, 0.1, "passed", ["Improved", "BetterThanReleased"]),
        (0.072, 0.05, "passed", ["Improved", "BetterThanReleased"]),
        (0.0702, 0.1, "rejected", ["NotBetterThanReleased", "Improved"]),
        (0.06, 0.1, "rejected", ["NotBetterThanReleased", "Improved"]),
        (0.073, 0.3, "undecided", ["UnclearAgainstReleased", "Improved"]),
    ],
)
def test_a_released_version_has_to_be_beaten_too(released: float, noise: float, verdict: str, codes: list[str]) -> None:
    found, reasons, text = judged(make_losses(0.07, released=released, noise=noise))
    assert (found, reasons) == (verdict, codes)
    assert "than with v1, the released version" in text


def test_what_does_worse_than_no_training_is_not_saved_by_a_worse_release() -> None:
    assert judged(make_losses(0.12, released=0.5))[:2] == ("rejected", ["NotImproved", "BetterThanReleased"])


@pytest.mark.parametrize(
    ("initializer", "trained", "code", "words"),
    [
        (0.1, math.nan, "LossNotFinite", "is not a number: 0.1 -> nan"),
        (math.inf, 0.1, "LossNotFinite", "is not a number: inf -> 0.1"),
        (0.1, -1.0, "LossNotFinite", "is not a number: 0.1 -> -1"),
        (None, 0.1, "LossMissing", "the trainer reported no loss to judge by"),
        (0.1, None, "LossMissing", "the trainer reported no loss to judge by"),
    ],
)
def test_losses_that_are_no_numbers_are_rejected(
    initializer: float | None, trained: float | None, code: str, words: str
) -> None:
    verdict, codes, text = judged(Losses(initializer=initializer, trained=trained))
    assert (verdict, codes) == ("rejected", [code])
    assert words in text


def test_an_older_trainers_losses_cannot_be_judged() -> None:
    verdict, codes, text = judged(Losses(initializer=0.1, trained=0.05))
    assert (verdict, codes) == ("undecided", ["BaselinesMissing"])
    assert "update its image" in text


def test_without_held_out_images_nothing_passes() -> None:
    images = ImageCounts(train=2)
    verdict, codes, text = judged(make_losses(0.05, on="training images"), images=images)
    assert (verdict, codes) == ("undecided", ["NothingHeldOut"])
    assert "none of the 2 images was held out to judge by: they look the same, or `training.held_out` is 0" in text
    text = judged(make_losses(0.05, on="training images"), images=ImageCounts(train=1))[2]
    assert "there is one image, and nothing to judge by" in text
    verdict, codes, text = judged(make_losses(0.1, on="training images"), images=images)
    assert (verdict, codes) == ("rejected", ["NotImproved"])
    assert "even on the images that were trained on" in text


def test_two_images_that_were_left_out_in_turn_decide() -> None:
    images = ImageCounts(train=2)
    verdict, codes, text = judged(make_losses(0.07, on=LEFT_OUT), images=images)
    assert (verdict, codes) == ("passed", ["Improved"])
    assert text.startswith("the loss on images left out in turn, after short trainings on the others, is 30.0% lower")
    assert judged(make_losses(0.1, on=LEFT_OUT), images=images)[:2] == ("rejected", ["NotImproved"])
    assert "2 images cannot tell" in judged(make_losses(0.09, noise=0.6, on=LEFT_OUT), images=images)[2]


@pytest.mark.parametrize(("copied", "verdict"), [(0, "passed"), (5, "passed"), (6, "undecided"), (8, "undecided")])
def test_a_token_that_draws_copies_of_a_picture_is_not_released(copied: int, verdict: str) -> None:
    samples = tuple(Sample(file=f"samples/{index}.png", prompt="a photo of <x>", seed=index) for index in range(8))
    copies = tuple(Copy(sample=index, picture="cat-2.jpg", correlation=0.98) for index in range(copied))
    found, codes, text = judged(make_losses(0.05), samples=samples, copies=copies)
    assert found == verdict
    assert (codes[0] == "Copies") == (verdict == "undecided")
    assert ("(cat-2.jpg): what was learned is a picture, not a thing" in text) == (verdict == "undecided")


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
    scores = ClipScores(image=image)
    verdict, codes, text = judged(make_losses(0.05), GateSpec(min_clip_gain=wanted), clip=scores)
    assert verdict == ("passed" if passed else "rejected")
    assert sorted(codes) == sorted(["Improved", code])
    assert words in text
    assert judged(make_losses(0.05), clip=scores) == judged(make_losses(0.05)), "without the key it is not judged"


def test_a_gate_that_asks_for_clip_is_not_passed_without() -> None:
    assert judged(make_losses(0.05), GateSpec(min_clip_gain=0.0))[:2] == ("rejected", ["ClipMissing", "Improved"])
