"""How the tests run the trainer's program, and what it leaves."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.metrics import TrainingMetrics

CLIP = Path(__file__).parents[1] / "trainer" / "clip"
"""A small CLIP model of random weights: see tests/trainer/test_clip.py."""
RecordsMaker = Callable[[Path, tuple[str, str], int], Path]


@dataclass(frozen=True)
class Trained:
    """What one run of the program left."""

    output: Path
    config: dict[str, Any]
    stdout: str
    metrics: TrainingMetrics


def run_trainer(
    records_folder: Path, config: dict[str, Any], output: Path, base: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program as a task does."""
    output.parent.mkdir(parents=True, exist_ok=True)
    path = output.parent / f"{output.name}.config.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "trainer", "--records", records_folder, "--config", path, "--output", output]
    command += ["--base", base] if base else []
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=os.environ)
