"""The two things that the demo teaches; no caption of the tiny model's pre-training ever named either."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """A concept, and what its pictures show in the tiny model's world."""

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
