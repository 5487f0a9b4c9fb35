"""Wait for what another thread or process does."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float = 60.0, every: float = 0.02) -> T:
    """Poll a condition every so many seconds until it holds, and return its value."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"the condition did not hold within {timeout:.0f} s"
        time.sleep(every)
    return result
