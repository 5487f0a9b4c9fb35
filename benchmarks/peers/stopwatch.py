"""Time the steps of this process. Imports nothing but the standard library: peers run in environments of their own."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from typing import Any


def measure(step: Callable[[], Any], steps: int) -> dict[str, float]:
    """Warm up once, then time the steps: the fastest, in seconds and in the processor's, and the memory at its most.

    What is known so far is printed after each step, as a line of JSON: who is stopped has not run for nothing.
    """
    found: dict[str, float] = {}
    for number in range(steps + 1):
        wall, processor = time.perf_counter(), time.process_time()
        step()
        now = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - processor}
        if number == 0:
            found["first"] = now["seconds"]
        else:
            found |= {name: min(found.get(name, value), value) for name, value in now.items()}
        found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps(found), flush=True)
    return found
