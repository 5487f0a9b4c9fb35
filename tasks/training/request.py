"""What a training is asked for and what it tells of itself, wherever it runs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conceptry.concept import BASE_MODELS, BaseModel
from conceptry.errors import SettingsError, TrainingError
from trainer.base_weights import presets
from trainer.metrics import METRICS_FILE, MetricsError, TrainingMetrics, read_metrics
from trainer.recipe import RECIPE


@dataclass(frozen=True)
class TrainingRequest:
    """One training: what the trainer reads, and the folder that appears, whole, when it is done.

    `needs_clip` is whether its gate asks for CLIP scores, so that it is of no use without a CLIP model.
    """

    concept: str
    config: Mapping[str, Any]
    records: Path
    output: Path
    base_dir: Path | None = None
    needs_clip: bool = False

    def no_clip(self, variable: str) -> SettingsError:
        """The error of a training that could not be judged; `variable` names the folder of weights."""
        return SettingsError(
            "gate.min_clip_gain asks for CLIP scores, and there is no CLIP model where it would be trained",
            concept=self.concept,
            next_step=f"`conceptry base fetch --clip` brings one into clip/ of {variable}; or leave that key out",
        )


@dataclass(frozen=True)
class Progress:
    """One line of the trainer's progress: step `step` of `of`, its loss, seconds since the start."""

    step: int
    of: int
    loss: float
    seconds: float


def base_models() -> dict[str, BaseModel]:
    """Return every preset by name, as fingerprints see it."""
    return {name: base_model(name) for name in BASE_MODELS}


def base_model(name: str) -> BaseModel:
    """Describe a preset the way fingerprints see it."""
    preset = presets.PRESETS[name]
    return BaseModel(name=name, digest=presets.digest(name), recipe=RECIPE, resolution=preset.resolution)


def relay(
    line: bytes | str, on_progress: Callable[[Progress], None], on_event: Callable[[Mapping[str, Any]], None]
) -> None:
    """Pass on one line that the trainer printed."""
    try:
        told = json.loads(line)
    except ValueError:
        return  # Some library printed; the log of a run is not the place for it.
    if not isinstance(told, dict):
        return
    if "event" in told:
        on_event(told)
    elif told.keys() >= {"step", "of"}:
        on_progress(
            Progress(int(told["step"]), int(told["of"]), float(told.get("loss", 0)), float(told.get("seconds", 0)))
        )


def read_results(output: Path, concept: str) -> TrainingMetrics:
    """Read metrics.json of a trainer's output folder.

    Raises:
        TrainingError: it is missing or cannot be read; the message says what to do.
    """
    try:
        return read_metrics(output / METRICS_FILE)
    except MetricsError as error:
        raise TrainingError(str(error), concept=concept) from error
