"""What a training will take: minutes of one accelerator, and dollars.

A guess from what the same concept's last version took, scaled by its steps; else from the preset's own speed. It is
there so that a reviewer sees "0.3 $" or "3,000 $" in a pull request, not to the minute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conceptry.actions import Estimate
from conceptry.version import Version


@dataclass(frozen=True)
class Rate:
    """How fast a preset trains where trainings run, and what that costs.

    `step` is seconds a step at the preset's own `batch_size` and `resolution`; `overhead` is seconds of start-up,
    caching of latents, judging and samples. `max_steps` is the preset's own. `usd_per_hour` is 0 on one's own machine.
    """

    step: float
    overhead: float
    max_steps: int
    batch_size: int
    resolution: int
    usd_per_hour: float = 0.0


def estimate(keys: Mapping[str, Any], versions: Sequence[Version], rate: Rate) -> Estimate:
    """Guess what training these keys takes.

    Args:
        keys: training keys, see conceptry.fingerprint.
        versions: what is published of the concept.
        rate: of the preset.
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
