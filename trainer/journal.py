"""Journal of a training: its progress and the seconds of its phases, for people, programs and TensorBoard."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainer.summaries import Summaries

_SCALARS = ("loss", "learning_rate", "norm", "evaluation", "steps_per_second")


class Journal:
    """Progress as JSON lines on stdout, in progress.jsonl and for TensorBoard (the chief's); the seconds of phases."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.summaries = Summaries(path.parent / "tensorboard" if path else None)
        self._last = self._begun = time.monotonic()
        self.seconds: dict[str, float] = {}

    def write(self, line: dict[str, Any]) -> None:
        """Add one line; the numbers of a step go to TensorBoard, too."""
        if "step" in line:
            numbers = {name: line[name] for name in _SCALARS if line.get(name) is not None}
            self.summaries.scalars(line["step"], numbers)
        text = json.dumps(line)
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        # The run that reads it may have been killed; the trainer is then asked to end, and writes its checkpoint first.
        with suppress(BrokenPipeError):
            print(text, flush=True)

    def phase(self, name: str) -> None:
        """End a phase: record and report its seconds."""
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 2)
        self.seconds["total"] = round(now - self._begun, 2)
        self._last = now
        self.write({"event": name, "seconds": self.seconds[name]})
