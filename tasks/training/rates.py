"""Speed and price of training each preset, for the estimates in a plan.

Seconds on CPUs were measured: docs/log/2026-11-training-speed.md has 15.5 s for each picture of a step at 512 px, 3.1 s
at 256. Those on the A100 are guesses, somewhat below the 267 ms per step of the GPU in the Keras tutorial. If a concept
has a version, the estimate uses its duration instead.
"""

from conceptry.estimate import Rate
from conceptry.installation import Installation
from tasks.training.cost import Prices
from trainer.base_weights.presets import PRESETS

# Seconds per step, and seconds of overhead: on two CPU cores, and on one A100.
_STEP = {"local": {"tiny": 0.06, "sd-v1-4": 62.0}, "vertex": {"tiny": 0.01, "sd-v1-4": 0.2}}
_OVERHEAD = {"local": {"tiny": 30.0, "sd-v1-4": 600.0}, "vertex": {"tiny": 240.0, "sd-v1-4": 360.0}}


def rates(installation: Installation) -> dict[str, Rate]:
    """Return the rates by preset, for the default backend, and by `backend/preset`.

    Raises:
        SettingsError: the price table that the settings name cannot be read.
    """
    price = installation.settings.gpu_usd_per_hour
    each = {"local": _rates("local", price or 0.0), "vertex": _rates("vertex", price or _vertex_price(installation))}
    chosen = {f"{backend}/{name}": rate for backend, known in each.items() for name, rate in known.items()}
    return each[installation.settings.backend] | chosen


def _vertex_price(installation: Installation) -> float:
    """Return the price of the jobs' machine in US dollars per hour; 0 if the table does not list it."""
    pricing = installation.vertex_basics
    return Prices.load(pricing.prices).hourly(pricing.machine_type, pricing.provisioning) or 0.0


def _rates(backend: str, usd_per_hour: float) -> dict[str, Rate]:
    return {
        name: Rate(
            step=_STEP[backend][name],
            overhead=_OVERHEAD[backend][name],
            max_steps=preset.max_steps,
            batch_size=preset.batch_size,
            resolution=preset.resolution,
            usd_per_hour=usd_per_hour,
        )
        for name, preset in PRESETS.items()
    }
