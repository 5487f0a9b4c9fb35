"""Estimate of a training's duration (minutes of one accelerator) and price (US dollars).

It is scaled by steps from the duration of the concept's last version, else computed from the preset's speed. It shows a
reviewer the order of magnitude, 0.3 $ or 3,000 $, and is not accurate to the minute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conceptry.actions import Estimate
from conceptry.version import Version


@dataclass(frozen=True)
class Rate:
    """Speed and price of training a preset on one backend.

    `step` is seconds per step at the preset's `batch_size` and `resolution` (pixels); `overhead` is seconds of
    start-up, caching of latents, evaluation and samples. `max_steps` is the preset's default. `usd_per_hour` is 0 on
    the local machine.
    """

    step: float
    overhead: float
    max_steps: int
    batch_size: int
    resolution: int
    usd_per_hour: float = 0.0


def estimate(keys: Mapping[str, Any], versions: Sequence[Version], rate: Rate) -> Estimate:
    """Estimate duration and price of a training.

    Args:
        keys: Training keys, see conceptry.fingerprint.
        versions: Published versions of the concept.
        rate: Rate of the preset.
    """
    steps = _steps(keys, rate)
    known = [version for version in versions if version.seconds and _comparable(version.spec, keys)]
    if known:
        last = max(known, key=lambda version: version.number)
        seconds = rate.overhead + max(0.0, (last.seconds or 0.0) - rate.overhead) * steps / _steps(last.spec, rate)
        basis = f"{last.name} took {_minutes(last.seconds or 0.0)}"
    else:
        size = (keys.get("training.batch_size") or rate.batch_size) / rate.batch_size
        size *= ((keys.get("resolution") or rate.resolution) / rate.resolution) ** 2
        seconds = rate.overhead + rate.step * size * steps
        basis = f"{steps} steps at most"
    return Estimate(round(seconds / 60, 1), round(seconds / 3600 * rate.usd_per_hour, 2), basis)


def _steps(keys: Mapping[str, Any], rate: Rate) -> int:
    return int(keys.get("training.max_steps") or rate.max_steps)


def _comparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    same = ("base_model", "resolution", "training.batch_size")
    return bool(old) and all(old.get(key) == new.get(key) for key in same)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"
