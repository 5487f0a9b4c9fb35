"""Time the steps of this process. Imports nothing but the standard library: peers run in environments of their own."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any


def measure(step: Callable[[], Any], steps: int) -> dict[str, float]:
    """Warm up once, then time the steps: the fastest, in seconds and in the processor's, and the memory at its most."""
    started = time.perf_counter()
    step()
    first = time.perf_counter() - started
    walls, processors = [], []
    for _ in range(steps):
        wall, processor = time.perf_counter(), time.process_time()
        step()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": min(walls), "cpu": min(processors), "first": first, "peak_gb": peak}
