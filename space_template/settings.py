"""What the Space serves: settings.json, checked once at the start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.metrics import TrainingMetrics


@dataclass(frozen=True)
class SpaceSettings:
    """The released version of one concept.

    `resolution` is the side of a picture in pixels. `version` and `revision` (a commit of `model_repo`) are None as
    long as nothing is published: then the base model draws without the token. `endpoint` is what the Deploy tab
    proposes. `base` describes a base model that is no preset.
    """

    name: str
    title: str
    emoji: str
    placeholder_token: str
    placeholder_tokens: tuple[str, ...]
    learnable_property: str
    base_model: str
    resolution: int
    model_repo: str
    version: str | None
    revision: str | None
    metrics: TrainingMetrics
    gate: str
    examples: tuple[str, ...]
    endpoint: Mapping[str, Any]
    base: Mapping[str, Any] | None = None

    @property
    def published(self) -> bool:
        """Whether there is a version to draw with."""
        return self.revision is not None


def read_settings(path: Path) -> SpaceSettings:
    """Read settings.json.

    Raises:
        ValueError: the file is not JSON, or lacks a key; the message names it.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return SpaceSettings(
            name=str(raw["name"]),
            title=str(raw["title"]),
            emoji=str(raw["emoji"]),
            placeholder_token=str(raw["placeholder_token"]),
            placeholder_tokens=tuple(map(str, raw["placeholder_tokens"])),
            learnable_property=str(raw["learnable_property"]),
            base_model=str(raw["base_model"]),
            resolution=int(raw["resolution"]),
            model_repo=str(raw["model_repo"]),
            version=raw["version"],
            revision=raw["revision"],
            metrics=TrainingMetrics.model_validate(raw["metrics"] or {}),
            gate=str(raw["gate"]),
            examples=tuple(map(str, raw["examples"])),
            endpoint=dict(raw["endpoint"]),
            base=raw.get("base"),
        )
    except KeyError as error:
        raise ValueError(f"{path.name} lacks the key {error}: let `conceptry` render this Space again") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path.name} cannot be read ({error}): let `conceptry` render this Space again") from error


def facts(settings: SpaceSettings) -> list[tuple[str, str]]:
    """List what the Space serves, as pairs of a name and a value that people read."""
    metrics = settings.metrics
    loss, images = metrics.loss, metrics.images
    pairs = [
        ("Version", f"{settings.version or 'none'} of {settings.model_repo}"),
        ("Token", " ".join(settings.placeholder_tokens)),
        ("Base model", f"{settings.base_model}, {settings.resolution} px"),
    ]
    if loss.trained is not None and loss.initializer is not None:
        change = f"{loss.initializer:.4f} → {loss.trained:.4f}"
        if loss.improvement is not None:
            change += f" ({loss.improvement:.0%} lower)"
        pairs.append(("Held-out loss", change))
    scores = metrics.clip and ((metrics.clip.image, "the pictures"), (metrics.clip.text, "the initializer's words"))
    for score, what in scores or ():
        if score and score.measured:
            pairs.append(("CLIP score", f"{score.initializer:.1f} → {score.trained:.1f} with {what}"))
    if images.train is not None:
        pairs.append(("Learned from", f"{images.train} pictures, {images.held_out} more to judge it"))
    if settings.gate:
        pairs.append(("Release gate", settings.gate))
    if metrics.steps is not None:
        pairs.append(("Steps", str(metrics.steps)))
    if settings.revision is not None:
        pairs.append(("Revision", settings.revision[:12]))
    return pairs
