"""Pictures being drawn in a thread, step by step, so that a page can tell how far it is, and stop it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

LOG = logging.getLogger(__name__)


class _StoppedError(Exception):
    """Raised inside a step of a job that was stopped, to end its drawing."""


class Job:
    """Pictures being drawn in a thread of their own, so that a person can stop them between two steps."""

    def __init__(self, draw: Callable[[Callable[[int, int], None]], Any], turn: threading.Lock) -> None:
        self._draw = draw
        self._turn = turn
        self._stopped = threading.Event()
        self._steps: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._pictures: npt.NDArray[np.uint8] | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="draw", daemon=True).start()

    def steps(self) -> Iterator[tuple[int, int]]:
        """Give (step, of) after each step, until the pictures are there or the job has failed."""
        while (step := self._steps.get()) is not None:
            yield step

    def result(self) -> npt.NDArray[np.uint8]:
        """Return the pictures, uint8 (N, H, W, 3), once `steps` is exhausted.

        Raises:
            ValueError: the prompt or a parameter cannot be drawn; the message says why.
        """
        if self._error is not None:
            raise self._error
        if self._pictures is None:
            raise ValueError("The drawing was stopped.")
        return self._pictures

    def stop(self) -> None:
        """End the job at its next step. Harmless when it is done."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            with self._turn:
                self._pictures = self._draw(self._on_step)
        except _StoppedError:
            LOG.info("a drawing was stopped")
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that asks for the result
            # TensorFlow has an error of its own for a full GPU.
            self._error = MemoryError() if type(error).__name__ == "ResourceExhaustedError" else error
        finally:
            self._steps.put(None)

    def _on_step(self, step: int, of: int) -> None:
        if self._stopped.is_set():
            raise _StoppedError
        self._steps.put((step, of))
