"""Speed and price of training each base model, for the estimates in a plan.

Seconds on CPUs were measured: docs/log/2026-11-training-speed.md has 15.5 s for each picture of a step at 512 px, 3.1 s
at 256. Those on the A100 are guesses, somewhat below the 267 ms per step of the GPU in the Keras tutorial. If a concept
has a version, the estimate uses its duration instead.

Other sizes and Stable Diffusion 2.x are computed from these by what a step multiplies (trainer/models/flops.py), in
1e12 operations for each picture:

             256 px   512 px   768 px
    SD 1.x     0.40     1.76     4.95
    SD 2.x     0.46     1.83     5.02

So 768 px take 2.8 times as long as 512, where the pixels are 2.25 times as many: a fifth of a step at 512 px is
attention among pixels, which grows with their square. SD 2.x has a UNet of the same size, and a text encoder that takes
three times as long, whatever the size of the pictures. Checkpoints are estimated by their kind ("sd1", "sd2").
"""

from dataclasses import replace

from conceptry.estimate import Rate
from conceptry.installation import Installation
from tasks.training.cost import Prices
from trainer.base_weights.presets import PRESETS
from trainer.models.flops import step_flops
from trainer.models.shapes import SD_1, SD_2

# Seconds per step, and seconds of overhead: on two CPU cores, and on one A100.
_STEP = {"local": {"tiny": 0.06, "sd-v1-4": 62.0}, "vertex": {"tiny": 0.01, "sd-v1-4": 0.2}}
_OVERHEAD = {"local": {"tiny": 30.0, "sd-v1-4": 600.0}, "vertex": {"tiny": 240.0, "sd-v1-4": 360.0}}


def rates(installation: Installation) -> dict[str, Rate]:
    """Return the rates by preset and by kind of checkpoint, for the default backend, and by `backend/` and that.

    Raises:
        SettingsError: the price table that the settings name cannot be read.
    """
    price = installation.settings.gpu_usd_per_hour
    vertex = price or _vertex_price(installation)
    each = {"local": rates_on("local", price or 0.0), "vertex": rates_on("vertex", vertex)}
    chosen = {f"{backend}/{name}": rate for backend, known in each.items() for name, rate in known.items()}
    return each[installation.settings.backend] | chosen


def _vertex_price(installation: Installation) -> float:
    """Return the price of the jobs' machine in US dollars per hour; 0 if the table does not list it."""
    pricing = installation.vertex_basics
    return Prices.load(pricing.prices).hourly(pricing.machine_type, pricing.provisioning) or 0.0


def rates_on(backend: str, usd_per_hour: float = 0.0) -> dict[str, Rate]:
    """Return the rates of a backend, "local" or "vertex", by preset and by kind of checkpoint."""
    known = {
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
    sd1 = _scaled(known["sd-v1-4"], "sd1")
    return known | {"sd-v1-4": sd1, "sd1": sd1, "sd2": _scaled(known["sd-v1-4"], "sd2")}


def _scaled(measured: Rate, kind: str) -> Rate:
    """Scale what was measured with Stable Diffusion 1 to a kind, by the operations of a step."""
    flops = {name: step_flops(shapes, measured.resolution) for name, shapes in (("sd1", SD_1), ("sd2", SD_2))}
    whole = flops[kind].at(measured.resolution)
    step = measured.step * whole / flops["sd1"].at(measured.resolution)
    return replace(measured, step=step, fixed=flops[kind].fixed / whole, square=flops[kind].square / whole)
