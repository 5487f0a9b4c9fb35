"""A training step on a GPU: how long it takes, and how long it would take at the GPU's published peak (its roofline).

    python -m benchmarks.gpu --json [--base BASE]

Without a GPU it prints the arithmetic alone, which takes a second. On one it trains on BASE, a folder of
benchmarks.full_size, and measures. Prints one JSON object:

    operations     of a step with `--batch` images of `--resolution` pixels, forward and back to the vectors
    bytes          that a step must move at least: each frozen weight once forward and once back
    gpus           by name and type of the weights: seconds of a step at the roofline, and what bounds it
    plan           what `conceptry plan` assumes of one A100: seconds of a step, the roofline's share of them, minutes
                   and US dollars of a concept, alone and as one of ten in a job, which share the start of the machine
    measured       seconds of the first and the fastest step, the roofline's share of the latter, and peak memory in
                   GB; null without a GPU

Published peaks are of dense products with float32 sums, in 1e12 operations a second; a program that reaches half of
them does well. Sources: NVIDIA's data sheets of V100 (2018), T4 (2019), A100 (2021), L4 and H100 (2023), of which the
latter two state products with zeros left out, twice as many.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tasks.training.cost import Prices
from tasks.training.rates import rates_on
from trainer.models.flops import step_flops
from trainer.models.shapes import SD_1

WEIGHTS = 983e6
"""Numbers of Stable Diffusion 1's text encoder and UNet."""
MACHINE = "a2-highgpu-1g"
TOGETHER = 10


@dataclass(frozen=True)
class Gpu:
    """A GPU: compute capability, 1e12 operations a second by type, and 1e9 bytes a second of its memory."""

    capability: tuple[int, int]
    peaks: dict[str, float]
    bandwidth: float


GPUS = {
    "V100": Gpu((7, 0), {"float32": 15.7, "float16": 125.0}, 900.0),
    "T4": Gpu((7, 5), {"float32": 8.1, "float16": 65.0}, 320.0),
    "A100 40 GB": Gpu((8, 0), {"float32": 19.5, "bfloat16": 312.0}, 1555.0),
    "L4": Gpu((8, 9), {"float32": 30.3, "bfloat16": 121.0}, 300.0),
    "H100 80 GB": Gpu((9, 0), {"float32": 67.0, "bfloat16": 989.0}, 3350.0),
}


def roofline(gpu: Gpu, dtype: str, operations: float) -> dict[str, Any]:
    """Return the least seconds of a step on a GPU, and what bounds it."""
    size = 4 if dtype == "float32" else 2
    seconds = {
        "products": operations / (gpu.peaks[dtype] * 1e12),
        "memory": 2 * WEIGHTS * size / (gpu.bandwidth * 1e9),
    }
    bound = max(seconds, key=lambda name: seconds[name])
    return {"dtype": dtype, "seconds": round(seconds[bound], 4), "bound": bound}


def planned(least: float) -> dict[str, Any]:
    """Return what a plan assumes of one A100, where the least seconds of a step are given."""
    known, start = rates_on("vertex"), rates_on("vertex")["tiny"].overhead
    rate = known["sd1"]
    hourly = Prices.load(None).hourly(MACHINE, "standard") or 0.0
    alone = rate.overhead + rate.step * rate.max_steps
    together = alone - start * (1 - 1 / TOGETHER)
    return {
        "seconds": rate.step,
        "share_of_roofline": round(least / rate.step, 2),
        "minutes_alone": round(alone / 60, 1),
        "usd_alone": round(alone / 3600 * hourly, 2),
        "minutes_of_ten": round(together / 60, 1),
        "usd_of_ten": round(together / 3600 * hourly, 2),
    }


def measured(base: Path, resolution: int, batch: int, operations: float) -> dict[str, Any] | None:
    """Return what a step takes on this machine's GPU; None without one."""
    import tensorflow as tf

    from benchmarks.step_time import ours
    from trainer.base_weights import precision

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    found = ours(base, resolution, batch, steps=20)
    name = str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", ""))
    key = next((key for key in GPUS if key.split()[0] in name), None)
    dtype = precision.storage("sd1")
    least = roofline(GPUS[key], dtype, operations)["seconds"] if key else None
    return {
        "gpu": name,
        "dtype": dtype,
        "first": round(found["first"], 2),
        "seconds": round(found["seconds"], 4),
        "share_of_roofline": round(least / found["seconds"], 2) if least else None,
        "peak_gb": round(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e9, 2),
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--base", type=Path, help="folder that benchmarks.full_size wrote, to measure on a GPU")
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    operations = options.batch * step_flops(SD_1).at(options.resolution)
    result = {
        "operations": operations,
        "bytes": {"float32": 8 * WEIGHTS, "half": 4 * WEIGHTS},
        "gpus": {name: {dtype: roofline(gpu, dtype, operations) for dtype in gpu.peaks} for name, gpu in GPUS.items()},
        "plan": planned(roofline(GPUS["A100 40 GB"], "bfloat16", operations)["seconds"]),
        "measured": measured(options.base, options.resolution, options.batch, operations) if options.base else None,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
