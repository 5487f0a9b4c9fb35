"""What a Space and an endpoint handler are given: the trainer's modules that they carry, and settings.json."""

from typing import Any

from conceptry.concept import BaseModel, ConceptSpec
from trainer.metrics import TrainingMetrics

# Copied beside the Space's app and the handler by the renderers, never by hand: what they draw with, and
# fetch its weights with, and all that these import.
SERVING_MODULES = (
    "trainer/__init__.py",
    "trainer/tiny/digests.json",
    "trainer/base_weights/__init__.py",
    "trainer/base_weights/presets.py",
    "trainer/base_weights/fetch.py",
    "trainer/base_weights/base_model.py",
    "trainer/base_weights/precision.py",
    "trainer/base_weights/weight_reader.py",
    "trainer/data/__init__.py",
    "trainer/data/tokenizer.py",
    "trainer/models/__init__.py",
    "trainer/models/autoencoder.py",
    "trainer/models/layers.py",
    "trainer/models/text_encoder.py",
    "trainer/models/unet.py",
    "trainer/sampling/__init__.py",
    "trainer/sampling/denoise_loop.py",
    "trainer/sampling/noise_schedule.py",
    "trainer/sampling/sampler.py",
    "trainer/sampling/solver.py",
)
SPACE_MODULES = (*SERVING_MODULES, "trainer/metrics.py")
"""What a Space carries: also the schema that its page reads the version's metrics with."""

_EXAMPLES = {
    "object": ("a photo of {}", "a close-up photo of {}", "a rendering of {}", "a photo of a small {}"),
    "style": ("a picture in the style of {}", "a house in the style of {}", "a close-up picture in the style of {}"),
}


def placeholder_tokens(spec: ConceptSpec) -> tuple[str, ...]:
    """Name the tokens of all vectors as diffusers does: <x>, <x>_1, <x>_2."""
    token = spec.placeholder_token
    return (token, *(f"{token}_{number}" for number in range(1, spec.num_vectors)))


def title(name: str, spec: ConceptSpec) -> str:
    """The Space's title: the one in concept.yaml, or the concept's name in words."""
    return spec.space.title or name.replace("-", " ").capitalize()


def hardware(spec: ConceptSpec) -> str:
    """The Space's hardware: the flavour in concept.yaml, or what the base model needs."""
    return spec.space.hardware or ("cpu-basic" if spec.base_model == "tiny" else "t4-small")


def serving_settings(
    name: str,
    spec: ConceptSpec,
    base: BaseModel,
    version_name: str,
    metrics: TrainingMetrics,
    model_repo: str,
    revision: str | None,
) -> dict[str, Any]:
    """Make settings.json, which the Space and the handler read.

    Args:
        name: the concept.
        spec: the concept.yaml that the version was trained from, with today's `space` and `endpoint`.
        base: the preset that the version was trained on.
        version_name: the version that is served, for example v2.
        metrics: of its training.
        model_repo: `owner/name` of the model repo.
        revision: commit that the Space downloads; None in the version's own handler, which lies beside its files.
    """
    return {
        "name": name,
        "title": title(name, spec),
        "emoji": spec.space.emoji,
        "placeholder_token": spec.placeholder_token,
        "placeholder_tokens": list(placeholder_tokens(spec)),
        "learnable_property": spec.learnable_property,
        "base_model": base.name,
        "resolution": spec.resolution or base.resolution,
        "model_repo": model_repo,
        "version": version_name,
        "revision": revision,
        "metrics": metrics.model_dump(mode="json"),
        "examples": [example.format(spec.placeholder_token) for example in _EXAMPLES[spec.learnable_property]],
        "endpoint": spec.endpoint.model_dump(exclude={"override"}),
    }
