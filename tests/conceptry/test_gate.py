"""What the gate lets through, and the sentence that it gives for it."""

import math
from typing import Any

import pytest

from conceptry.concept import GateSpec
from conceptry.gate import judge


def metrics(initializer: object, trained: object) -> dict[str, Any]:
    return {"loss": {"initializer": initializer, "trained": trained}}


@pytest.mark.parametrize(
    ("initializer", "trained", "wanted", "previous", "passed", "reason"),
    [
        (0.1, 0.05, 0.0, None, True, "held-out loss 0.1000 -> 0.0500, +50.0% better; any improvement was asked for"),
        (0.1, 0.1, 0.0, None, False, "held-out loss 0.1000 -> 0.1000, +0.0% better; any improvement was asked for"),
        (0.1, 0.2, 0.0, None, False, "held-out loss 0.1000 -> 0.2000, -100.0% better; any improvement was asked for"),
        (0.1, 0.05, 0.4, None, True, "at least 40.0% was asked for"),
        (0.1, 0.08, 0.4, None, False, "at least 40.0% was asked for"),
        (0.1, 0.05, 0.0, 0.06, True, "0.0500 is lower than the released version's 0.0600"),
        (0.1, 0.05, 0.0, 0.05, False, "0.0500 is not lower than the released version's 0.0500"),
        (0.1, 0.2, 0.0, 0.3, False, "0.2000 is lower than the released version's 0.3000"),
        (0.0, 0.0, 0.0, None, False, "any improvement was asked for"),
        (0.1, math.nan, 0.0, None, False, "the held-out loss is not a number: 0.1 -> nan"),
        (math.inf, 0.1, 0.0, None, False, "the held-out loss is not a number: inf -> 0.1"),
        (0.1, "0.05", 0.0, None, False, "the held-out loss is not a number: 0.1 -> 0.05"),
        (0.1, True, 0.0, None, False, "the held-out loss is not a number"),
        (0.1, -1, 0.0, None, False, "the held-out loss is not a number"),
        (None, None, 0.0, None, True, "no image was held out, so nothing was judged"),
        (None, None, 0.2, None, False, "gate.min_improvement asks for an improvement, but no image was held out"),
        (None, None, 0.0, 0.05, False, "no image was held out, so the retraining cannot be shown to be better"),
    ],
)
def test_judge(
    initializer: object, trained: object, wanted: float, previous: float | None, passed: bool, reason: str
) -> None:
    result = judge(metrics(initializer, trained), GateSpec(min_improvement=wanted), previous)
    assert result.passed is passed
    assert result.verdict == ("passed" if passed else "rejected")
    assert reason in "; ".join(result.reasons)


@pytest.mark.parametrize("broken", [{}, {"loss": None}, {"loss": 0.1}])
def test_metrics_without_losses_are_not_judged(broken: dict[str, Any]) -> None:
    assert judge(broken, GateSpec()).reasons == ("no image was held out, so nothing was judged",)
