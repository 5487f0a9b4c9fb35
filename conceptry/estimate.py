"""Estimate of a training's duration (minutes of one accelerator) and price (US dollars).

It is scaled by steps from the duration of the concept's last version, else computed from the base model's speed. It
shows a reviewer the order of magnitude, 0.3 $ or 3,000 $, and is not accurate to the minute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conceptry.actions import Estimate
from conceptry.version import Version


@dataclass(frozen=True)
class Rate:
    """Speed and price of training a preset, or checkpoints of a kind, on one backend.

    `step` is seconds per step at its `batch_size` and `resolution` (pixels); `overhead` is seconds of start-up, caching
    of latents, evaluation and samples. `max_steps` is the default. `usd_per_hour` is 0 on the local machine. Of a step
    the share `fixed` is the same for images of all sizes and the share `square` grows with the square of their pixels;
    the rest grows with the pixels.
    """

    step: float
    overhead: float
    max_steps: int
    batch_size: int
    resolution: int
    usd_per_hour: float = 0.0
    fixed: float = 0.0
    square: float = 0.0

    def seconds_of_step(self, batch_size: int, resolution: int) -> float:
        """Return the seconds of a step with so many images of so many pixels a side."""
        pixels = (resolution / self.resolution) ** 2
        growth = self.fixed + (1.0 - self.fixed - self.square) * pixels + self.square * pixels**2
        return self.step * batch_size / self.batch_size * growth


def estimate(keys: Mapping[str, Any], versions: Sequence[Version], rate: Rate) -> Estimate:
    """Estimate duration and price of a training.

    Args:
        keys: Training keys, see conceptry.fingerprint.
        versions: Published versions of the concept.
        rate: Rate of the base model.
    """
    steps = _steps(keys, rate)
    known = [version for version in versions if version.seconds and _comparable(version.spec, keys)]
    if known:
        last = max(known, key=lambda version: version.number)
        seconds = rate.overhead + max(0.0, (last.seconds or 0.0) - rate.overhead) * steps / _steps(last.spec, rate)
        basis = f"{last.name} took {_minutes(last.seconds or 0.0)}"
    else:
        batch_size, resolution = keys.get("training.batch_size"), keys.get("resolution")
        step = rate.seconds_of_step(batch_size or rate.batch_size, resolution or rate.resolution)
        seconds = rate.overhead + step * steps
        basis = f"{steps} steps at most"
    return Estimate(round(seconds / 60, 1), round(seconds / 3600 * rate.usd_per_hour, 2), basis)


def _steps(keys: Mapping[str, Any], rate: Rate) -> int:
    return int(keys.get("training.max_steps") or rate.max_steps)


def _comparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    same = ("base_model", "resolution", "training.batch_size")
    return bool(old) and all(old.get(key) == new.get(key) for key in same)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"
