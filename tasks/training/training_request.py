"""Request, progress and results of a training on any backend."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conceptry.errors import SettingsError, TrainingError
from trainer.metrics import METRICS_FILE, MetricsError, TrainingMetrics, read_metrics


@dataclass(frozen=True)
class TrainingRequest:
    """One training: the inputs of the trainer, and the folder of results, which appears complete at the end.

    `needs_clip` is whether the gate needs CLIP scores, so that the training requires a CLIP model. `vectors` are files
    of published vectors by the trainer's option for them: "released", those that the gate compares with, named after
    their version, and "initial", those to start from. Either is missing if there is none.
    """

    concept: str
    config: Mapping[str, Any]
    records: Path
    output: Path
    base_dir: Path | None = None
    needs_clip: bool = False
    vectors: Mapping[str, Path] = field(default_factory=dict)

    @property
    def objects(self) -> dict[str, str]:
        """Names of the vectors' files in a bucket, below the training's prefix, by the trainer's option for them."""
        return {option: f"{option}/{path.name}" for option, path in self.vectors.items()}

    def no_clip(self, variable: str) -> SettingsError:
        """Return the error for a missing CLIP model; `variable` is the setting of the folder of weights."""
        return SettingsError(
            "gate.min_clip_gain needs CLIP scores, and the machine that would train has no CLIP model",
            concept=self.concept,
            next_step=f"run `conceptry base fetch --clip` to download one to clip/ of {variable}, or remove that "
            f"key and push; then `conceptry train {self.concept}`",
        )


@dataclass(frozen=True)
class Progress:
    """Progress of a training: step `step` of `of`, its loss, and seconds since the start."""

    step: int
    of: int
    loss: float
    seconds: float


def relay(
    line: bytes | str, on_progress: Callable[[Progress], None], on_event: Callable[[Mapping[str, Any]], None]
) -> None:
    """Parse one line of the trainer's output and call the callback for it; ignore other output."""
    try:
        data = json.loads(line)
    except ValueError:
        return  # output of a library, which does not belong in the run's log
    if not isinstance(data, dict):
        return
    if "event" in data:
        on_event(data)
    elif data.keys() >= {"step", "of"}:
        on_progress(
            Progress(int(data["step"]), int(data["of"]), float(data.get("loss", 0)), float(data.get("seconds", 0)))
        )


def read_results(output: Path, concept: str) -> TrainingMetrics:
    """Parse metrics.json in a trainer's output folder.

    Raises:
        TrainingError: the file is missing or cannot be parsed; the message says what to do.
    """
    try:
        return read_metrics(output / METRICS_FILE)
    except MetricsError as error:
        raise TrainingError(str(error), concept=concept) from error
