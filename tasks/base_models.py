"""Base models as fingerprints and the trainer know them: presets, and the checkpoints of bases.yaml."""

from collections.abc import Iterable

from conceptry.bases import BaseEntry
from conceptry.concept import BASE_MODELS, BaseModel, ConceptSpec
from trainer.base_weights import presets
from trainer.recipe import RECIPE

PRESET_DEFAULTS = ("max_steps", "learning_rate", "batch_size", "flips")
"""Training settings whose default is the preset's. A change of one of them in a preset has to raise RECIPE."""


def base_models(specs: Iterable[ConceptSpec] = ()) -> dict[str, BaseModel]:
    """Return every preset, and every checkpoint that a spec names, by name, as fingerprints use them."""
    named = {spec.base_model: base_model(spec.base_model, spec.base) for spec in specs if spec.base is not None}
    return {**{name: base_model(name) for name in BASE_MODELS}, **named}


def base_of(spec: ConceptSpec) -> BaseModel:
    """Return the base model that a spec names, as fingerprints use it."""
    return base_model(spec.base_model, spec.base)


def preset_of(spec: ConceptSpec) -> presets.Preset:
    """Return the base model that a spec names, as the trainer knows it."""
    return presets.of(spec.base_model, spec.base.model_dump() if spec.base else None)


def base_model(name: str, entry: BaseEntry | None = None) -> BaseModel:
    """Return a preset, or a checkpoint that an entry of bases.yaml describes, as fingerprints use it."""
    preset = presets.of(name, entry.model_dump() if entry else None)
    return BaseModel(
        name,
        digest=presets.digest(preset),
        recipe=RECIPE,
        resolution=preset.resolution,
        min_improvement=preset.min_improvement,
        draws=preset.draws,
        needs=preset.needs,
        defaults={f"training.{key}": getattr(preset, key) for key in PRESET_DEFAULTS},
        kind=preset.kind if entry else None,
    )
