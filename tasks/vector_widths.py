"""Width of the vectors that a base model's text encoder takes, and which base models take vectors of a width."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from conceptry.errors import ConceptryError
from trainer.base_weights.presets import Preset
from trainer.base_weights.sd_checkpoint import CheckpointError, open_checkpoint

_PUBLISHED = {"tiny": 96, "sd1": 768, "sd2": 1024}
_WORDS = {"tiny": "the tiny model", "sd1": "Stable Diffusion 1.x", "sd2": "Stable Diffusion 2.x"}


def vector_width(preset: Preset, base_dir: Path | None) -> int:
    """Return a base model's width: that of its checkpoint if it is on this machine, else that of its kind."""
    if preset.checkpoint is not None and base_dir is not None and (base_dir / preset.checkpoint).exists():
        with suppress(CheckpointError):
            return open_checkpoint(base_dir / preset.checkpoint).shapes.text_encoder.width
    return _PUBLISHED[preset.kind]


def check_width(width: int, preset: Preset, known: Mapping[str, Preset], base_dir: Path | None) -> None:
    """Check that vectors of a width fit a base model.

    Args:
        width: Of the vectors.
        preset: The base model.
        known: All base models by name, for the advice.
        base_dir: Folder of weights.

    Raises:
        ConceptryError: they do not; the message says which kind they fit.
    """
    wanted = vector_width(preset, base_dir)
    if wanted != width:
        raise ConceptryError(
            f"the vectors are {_of_width(width)}, and {preset.name} is {_WORDS[preset.kind]}, "
            f"whose vectors are {wanted} wide",
            next_step=_advice(width, known, base_dir),
        )


def base_model_of_width(width: int, known: Mapping[str, Preset], base_dir: Path | None) -> str:
    """Return the base model that vectors of a width fit: a preset, or else the only entry of bases.yaml.

    Raises:
        ConceptryError: none fits, or there is a choice.
    """
    fitting = _fitting(width, known, base_dir)
    if not fitting or (len(fitting) > 1 and known[fitting[0]].checkpoint is not None):
        what = "fit several base models" if fitting else "fit no base model here"
        raise ConceptryError(
            f"the vectors are {_of_width(width)}: they {what}", next_step=_advice(width, known, base_dir)
        )
    return fitting[0]


def _fitting(width: int, known: Mapping[str, Preset], base_dir: Path | None) -> list[str]:
    fitting = [name for name, preset in known.items() if vector_width(preset, base_dir) == width]
    return sorted(fitting, key=lambda name: known[name].checkpoint is not None)


def _of_width(width: int) -> str:
    kind = next((kind for kind, published in _PUBLISHED.items() if published == width), None)
    return f"{width} wide, as those of {_WORDS[kind]} are" if kind else f"{width} wide"


def _advice(width: int, known: Mapping[str, Preset], base_dir: Path | None) -> str:
    fitting = _fitting(width, known, base_dir)
    if fitting:
        return f"choose a base model that they fit: {', '.join(fitting)}"
    kind = next((kind for kind, published in _PUBLISHED.items() if published == width), None)
    if kind is None:
        widths = ", ".join(f"{_WORDS[kind]} {published}" for kind, published in _PUBLISHED.items())
        return f"import vectors of one of these widths: {widths}"
    return f"add a checkpoint of {_WORDS[kind]} with `conceptry base add`"
