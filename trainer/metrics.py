"""`metrics.json`: what the trainer measured in one training, and the one schema that everything reads it with.

The trainer writes the file last, so a folder that holds it holds a whole training. The gate, the model card, the index
of versions, Prefect's artifacts, the Space's page and the benchmarks read it. Its JSON Schema is
docs/metrics.schema.json.

This module imports pydantic and the standard library only: the core (`conceptry`) reads it, and so does a Space before
TensorFlow is loaded.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

METRICS_FILE = "metrics.json"
METRICS_VERSION = 1
HELD_OUT = "held-out images"
LEFT_OUT = "images left out in turn"
"""Two images, each judged by a short training on the other one (trainer/cross_fit.py)."""
RELEASED = "released"
"""The baseline that was trained: the version that is released."""

Figure = Annotated[float, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0)]
Sha256 = Annotated[str, Field(description="sha256, 64 hex digits.")]


class MetricsError(ValueError):
    """A metrics.json is missing or cannot be read; the message names the file and says what to do."""


def _check_version(version: int) -> int:
    if version > METRICS_VERSION:
        raise ValueError(
            f"{METRICS_FILE} has version {version}, and this release reads up to version {METRICS_VERSION}: "
            "update Conceptry to the release that trained it, or a later one"
        )
    return version


class _Record(BaseModel):
    """Frozen. Keys that this release does not know are kept, and what was not given is not written."""

    model_config = ConfigDict(frozen=True, extra="allow", ser_json_inf_nan="constants")

    @model_serializer(mode="wrap")
    def _write_what_was_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A file of an older release reads and writes back as it was; a plain `exclude_unset` would have to be
        # remembered by every caller, also by those that dump a model which holds this one.
        return {key: value for key, value in handler(self).items() if key in self.model_fields_set}


class LossRows(_Record):
    """Single losses, paired: the same picture, view, timestep and noise for the token and each baseline.

    Each is by picture, every picture with the same number of rows.
    """

    trained: tuple[tuple[Figure, ...], ...] = Field(description="Losses with the trained vectors, by picture.")
    baselines: dict[str, tuple[tuple[Figure, ...], ...]] = Field(
        description="Losses on the same rows without training: `initializer` (its vectors), `mean` (of all words), "
        "`class_prompt` (the initializer's words), `empty_prompt`, and `released` (the released version's vectors)."
    )

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(map(len, self.trained))


class Losses(_Record):
    """Mean squared errors of the predicted noise, on the same images, noise and timesteps."""

    initializer: Figure | None = Field(None, description="Loss before training: with the initializer's vectors.")
    trained: Figure | None = Field(None, description="Loss with the trained vectors.")
    improvement: Figure | None = Field(None, description="1 - trained / initializer, a fraction: 0.5 is half the loss.")
    on: str = Field(HELD_OUT, description="Which images: held-out images, images left out in turn, or training images.")
    rows: LossRows | None = Field(
        None, description="What the gate judges by; none in trainings of RECIPE 3 and before."
    )
    released: str | None = Field(None, description="The released version that is among the baselines.")


class ClipScore(_Record):
    """A cosine of CLIP vectors times 100, the mean over all pairs of a sample and what it is compared with."""

    initializer: Figure | None = Field(None, description="Score of the samples drawn with the initializer's vectors.")
    trained: Figure | None = Field(None, description="Score of the samples drawn with the trained vectors.")
    on: str | None = Field(None, description="What the samples were compared with: which images, or the text.")

    @property
    def measured(self) -> bool:
        """Whether both scores are finite numbers."""
        return all(score is not None and math.isfinite(score) for score in (self.initializer, self.trained))

    @property
    def gain(self) -> float:
        """How much nearer the trained vectors' samples are than the initializer's; NaN where it was not measured."""
        if self.initializer is None or self.trained is None:
            return math.nan
        return round(self.trained - self.initializer, 2)

    def __str__(self) -> str:
        return f"{self.initializer:.1f} with the initializer, {self.trained:.1f} with the token"


class ClipScores(_Record):
    """Scores of the samples by a CLIP model (Gal et al. 2022, section 4). Only scores of one model compare."""

    model: str | None = Field(None, description="The CLIP model: its name, or the sha256 of its weights.")
    image: ClipScore | None = Field(None, description="Compared with the concept's pictures.")
    text: ClipScore | None = Field(None, description="Compared with the initializer's words; needs a tokenizer.")


class ImageCounts(_Record):
    """How many pictures the training had."""

    train: Count | None = Field(None, description="Pictures trained on.")
    held_out: Count = Field(0, description="Pictures held out to judge the result by.")


class Sample(_Record):
    """One picture that the trained token draws."""

    file: str = Field(description="Path inside the output folder.")
    prompt: str = Field(description="What it was drawn from.")
    seed: Count = Field(description="Seed that draws it again.")


class Copy(_Record):
    """A sample that nearly equals a picture that was trained on."""

    sample: Count = Field(description="Index of the sample.")
    picture: str = Field(description="File of the picture, inside the concept's images folder.")
    correlation: Figure = Field(description="Correlation of their perceptual hashes, with the nearest crop.")


class Weights(_Record):
    """The frozen weights of the base model."""

    dtype: str | None = Field(
        None, description="Type they were stored and multiplied in: float32, bfloat16 or float16."
    )
    verified: bool = Field(True, description="Whether they are the published ones, by their sha256.")


class ImportSource(_Record):
    """Where vectors come from that were not trained here."""

    source: str = Field(description="Name of the file.")
    sha256: Sha256


class TrainingMetrics(_Record):
    """metrics.json of one training. A file without `version` is of version 1."""

    version: Annotated[int, Field(strict=True, ge=1), AfterValidator(_check_version)] = Field(
        METRICS_VERSION, description="Version of this file's layout.", json_schema_extra={"maximum": METRICS_VERSION}
    )
    recipe: Count | None = Field(None, description="trainer.recipe.RECIPE that trained it.")
    base_model: str | None = Field(None, description="Preset that was trained on.")
    steps: Count | None = Field(None, description="Optimizer steps taken.")
    stopped: str | None = Field(
        None, description="Why it ended: max_steps, early (the loss had settled), or imported (not trained here)."
    )
    loss: Losses = Field(default_factory=Losses, description="Held-out loss before and after training.")
    undrawable: str | None = Field(
        None, description="Why the base model cannot draw such pictures; null if it can, or if that was not judged."
    )
    clip: ClipScores | None = Field(None, description="CLIP scores of the samples, where a CLIP model was at hand.")
    images: ImageCounts = Field(default_factory=ImageCounts, description="How many pictures there were.")
    seconds: dict[str, Figure] = Field(
        default_factory=dict, description="Wall-clock seconds of each phase, and of all of them (`total`)."
    )
    samples: tuple[Sample, ...] = Field((), description="The pictures under samples/.")
    copies: tuple[Copy, ...] = Field((), description="Samples that nearly equal a picture that was trained on.")
    device: str | None = Field(None, description="GPU or CPU.")
    replicas: Count | None = Field(None, description="Devices that shared each batch.")
    weights: Weights = Field(default_factory=Weights, description="The base model's weights as they were used.")
    files: dict[str, Sha256] = Field(default_factory=dict, description="sha256 of every result, by its path.")
    imported: ImportSource | None = Field(None, description="Where imported vectors come from.")

    @property
    def clip_scores(self) -> tuple[tuple[str, ClipScore], ...]:
        """The scores that were measured, each with what it is in words.

        The words hold the initializer, and so may hold anything: escape them.
        """
        scores = (
            ("CLIP score with {}", self.clip and self.clip.image),
            ("CLIP score with “{}”", self.clip and self.clip.text),
        )
        return tuple((words.format(score.on), score) for words, score in scores if score and score.measured)

    @property
    def clip_image(self) -> ClipScore | None:
        """How near the samples are to the concept's pictures; None where it was not measured."""
        score = self.clip and self.clip.image
        return score if score and score.measured else None


def read_metrics(path: Path) -> TrainingMetrics:
    """Read a metrics.json.

    Raises:
        MetricsError: It is missing, damaged, or of a later version; the message says what to do.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MetricsError(f"{path} cannot be read ({error.strerror}): train again") from error
    try:
        return TrainingMetrics.model_validate_json(content)
    except ValidationError as error:
        raise MetricsError(f"{path}: {problem(error)}") from error


def write_metrics(path: Path, metrics: TrainingMetrics) -> None:
    """Write a metrics.json with its version; the file appears whole, by a rename."""
    text = metrics.model_copy(update={"version": METRICS_VERSION}).model_dump_json(indent=2)
    partial = path.with_name(f"{path.stem}.partial.json")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def problem(error: ValidationError) -> str:
    """Say in one sentence what is wrong with a document, and what to do."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error" and where.endswith("version"):
        return first["msg"].removeprefix("Value error, ")
    return f"{where or 'the document'}: {first['msg']}. It is not what the trainer writes: train again"


def metrics_schema() -> dict[str, Any]:
    """Describe metrics.json to programs; committed as docs/metrics.schema.json."""
    schema = TrainingMetrics.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": METRICS_FILE}
