"""Concepts of the demo; neither occurs in the captions of the tiny model's pre-training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """Concept of the demo, and the coloured shape in its images."""

    name: str
    initializer: str
    colour: str
    shape: str
    seed: int

    @property
    def token(self) -> str:
        """The placeholder token."""
        return f"<{self.name}>"


NIGHT_LIGHT = Subject("night-light", "circle", "teal", "crescent", seed=1)
LIFE_BUOY = Subject("life-buoy", "circle", "orange", "ring", seed=2)
REPAINTED = "pink"
"""Colour of the night-light's second version, which has to be better at its new images than the first one."""
NAMES = ("one", "two", "three", "four", "five")
"""Names of a concept's images."""
