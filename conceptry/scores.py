"""CLIP scores, as the trainer's metrics.json tells them where a CLIP model lay beside the base model's weights.

A score is a cosine times 100, the mean over samples: with the concept's pictures, and with the initializer's words.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ClipScore:
    """One score of the samples drawn with the initializer, and of those with the learned token.

    `what` they were compared with, in words. They may contain anything: escape them.
    """

    what: str
    initializer: float
    trained: float

    def __str__(self) -> str:
        return f"{self.initializer:.1f} with the initializer, {self.trained:.1f} with the token"


def clip_scores(metrics: Mapping[str, Any]) -> dict[str, ClipScore]:
    """The scores by kind, "image" and "text"; what is missing or no number is left out."""
    clip = metrics.get("clip")
    found = {}
    for kind, what in (("image", "CLIP score with {}"), ("text", "CLIP score with “{}”")):
        score = clip.get(kind) if isinstance(clip, Mapping) else None
        if isinstance(score, Mapping) and all(_usable(score.get(key)) for key in ("initializer", "trained")):
            found[kind] = ClipScore(what.format(score.get("on")), score["initializer"], score["trained"])
    return found


def _usable(score: object) -> bool:
    return isinstance(score, (int, float)) and not isinstance(score, bool) and math.isfinite(score)
