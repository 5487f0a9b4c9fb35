"""What `--config` says: one JSON file, checked before TensorFlow is loaded."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.base_weights.presets import PRESETS, Preset, of

CONFIDENCE = 0.95
"""Of the gate's verdict, when concept.yaml says nothing."""
_PLACEHOLDER = re.compile(r"<[^<>\s]+>")


class ConfigError(ValueError):
    """The configuration or the records cannot be trained with; the message says what to change."""


@dataclass(frozen=True)
class Config:
    """One training, with every default filled in. `held_out` pictures judge the result and are not trained on; None
    leaves their number to the trainer (`pictures.split_held_out`).

    `noise_seed` draws what a step sees, `seed` all else: a scheduled retraining changes only the first, and so is
    judged on the same pictures and noise as the version that it must beat. With `flips` half of the crops are mirrored.
    At checkpoints whose step is a
    multiple of `sample_every` a few pictures are drawn; 0 is never. `min_improvement` and `confidence` are the gate's:
    the evaluation draws rows until its verdict is clear. With `mask` "alpha" the loss counts where the pictures' masks
    say, in training and in the evaluation. `base` is the base model that `base_model` names.
    """

    placeholder_token: str
    initializer_token: str
    learnable_property: str
    num_vectors: int
    base_model: str
    resolution: int
    max_steps: int
    learning_rate: float
    batch_size: int
    early_stopping: bool
    seed: int
    noise_seed: int
    held_out: int | None
    flips: bool
    samples: int
    sample_every: int = 0
    templates: tuple[str, ...] = ()
    min_improvement: float = 0.0
    confidence: float = CONFIDENCE
    mask: str | None = None
    base: Preset = PRESETS["tiny"]


def load(path: Path) -> Config:
    """Read and check a configuration.

    Raises:
        ConfigError: All that is wrong with the file, in one message.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config {path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"--config {path} must hold one JSON object")
    return parse(document)


def parse(document: dict[str, Any]) -> Config:
    """Fill in the preset's defaults and check every value; null means the default. Raises ConfigError."""
    try:
        preset = of(str(document.get("base_model")), document.get("base"))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    training, gate = document.get("training") or {}, document.get("gate") or {}
    problems: list[str] = []

    def number(source: dict[str, Any], name: str, default: Any, low: float, below: float = math.inf) -> Any:
        value = source.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < below:
            limit = "" if below == math.inf else f" and less than {below}"
            problems.append(f"{name}: {value!r} must be a number of at least {low}{limit}")
        elif isinstance(default, int) and value != int(value):
            problems.append(f"{name}: {value!r} must be a whole number")
        return value

    placeholder = document.get("placeholder_token")
    if (
        not isinstance(placeholder, str)
        or not re.fullmatch(r"<[^<>\s]+>", placeholder)
        or placeholder.lower() != placeholder
    ):
        problems.append(f"placeholder_token: {placeholder!r} must be lower-case, without spaces, in <angle brackets>")
    initializer = document.get("initializer_token")
    if not isinstance(initializer, str) or not initializer.strip():
        problems.append(f"initializer_token: {initializer!r} must be a word")
    learnable = document.get("learnable_property") or "object"
    if learnable not in ("object", "style"):
        problems.append(f"learnable_property: {learnable!r} is not one of: object, style")
    config = Config(
        placeholder_token=str(placeholder),
        initializer_token=str(initializer),
        learnable_property=str(learnable),
        num_vectors=number(document, "num_vectors", 1, 1),
        base_model=preset.name,
        resolution=number(document, "resolution", preset.resolution, 64),
        max_steps=number(training, "max_steps", preset.max_steps, 1),
        learning_rate=number(training, "learning_rate", preset.learning_rate, 1e-9),
        batch_size=number(training, "batch_size", preset.batch_size, 1),
        early_stopping=bool(training.get("early_stopping", True)),
        seed=number(training, "seed", 0, 0),
        noise_seed=number(training, "noise_seed", training.get("seed") or 0, 0),
        held_out=None if training.get("held_out") is None else number(training, "held_out", 1, 0),
        flips=preset.flips if training.get("flips") is None else bool(training["flips"]),
        samples=number(document, "samples", 8, 1),
        sample_every=number(training, "sample_every", preset.sample_every, 0),
        templates=_templates(training.get("templates") or (), problems),
        min_improvement=number(gate, "min_improvement", preset.min_improvement, 0, below=1),
        confidence=number(gate, "confidence", CONFIDENCE, 0.5, below=1),
        mask=_mask(training.get("mask"), problems),
        base=preset,
    )
    if not problems and config.resolution % 64:
        problems.append(f"resolution: {config.resolution} must be a multiple of 64")
    if problems:
        raise ConfigError("; ".join(problems))
    return config


def _mask(given: Any, problems: list[str]) -> str | None:
    if given in (None, "alpha"):
        return "alpha" if given else None
    problems.append(f"mask: {given!r} is not one of: alpha")
    return None


def _templates(given: Any, problems: list[str]) -> tuple[str, ...]:
    if not isinstance(given, list | tuple):
        problems.append(f"templates: {given!r} must be a list of sentences")
        return ()
    for text in given:
        if not isinstance(text, str) or text.count("{}") != 1 or re.search(r"[{}]", text.replace("{}", "")):
            problems.append(f"templates: {text!r} must be a sentence with one {{}} where the token goes")
    return tuple(given)
