"""Inputs of a rendered Space and endpoint handler: the trainer's modules that they contain, and settings.json."""

from typing import Any

from conceptry.concept import BaseModel, ConceptSpec
from trainer.metrics import TrainingMetrics

# The renderers copy these modules beside the Space's app and the handler: sampling, fetching of weights, and all that
# these import.
SERVING_MODULES = (
    "trainer/__init__.py",
    "trainer/tiny/digests.json",
    "trainer/base_weights/__init__.py",
    "trainer/base_weights/presets.py",
    "trainer/base_weights/fetch.py",
    "trainer/base_weights/base_model.py",
    "trainer/base_weights/precision.py",
    "trainer/base_weights/safetensors_file.py",
    "trainer/base_weights/sd_checkpoint.py",
    "trainer/base_weights/tensor_names.py",
    "trainer/base_weights/weight_reader.py",
    "trainer/data/__init__.py",
    "trainer/data/tokenizer.py",
    "trainer/models/__init__.py",
    "trainer/models/autoencoder.py",
    "trainer/models/layers.py",
    "trainer/models/shapes.py",
    "trainer/models/text_encoder.py",
    "trainer/models/unet.py",
    "trainer/sampling/__init__.py",
    "trainer/sampling/denoise_loop.py",
    "trainer/sampling/noise_schedule.py",
    "trainer/sampling/sampler.py",
    "trainer/sampling/solver.py",
)
SPACE_MODULES = (*SERVING_MODULES, "trainer/metrics.py")
"""Modules of a Space, which also needs the schema of the version's metrics."""

_EXAMPLES = {
    "object": ("a photo of {}", "a close-up photo of {}", "a rendering of {}", "a photo of a small {}"),
    "style": ("a picture in the style of {}", "a house in the style of {}", "a close-up picture in the style of {}"),
}


def placeholder_tokens(spec: ConceptSpec) -> tuple[str, ...]:
    """Return the tokens of all vectors as diffusers names them: <x>, <x>_1, <x>_2."""
    token = spec.placeholder_token
    return (token, *(f"{token}_{number}" for number in range(1, spec.num_vectors)))


def title(name: str, spec: ConceptSpec) -> str:
    """Return the Space's title: that of concept.yaml, else one derived from the concept's name."""
    return spec.space.title or name.replace("-", " ").capitalize()


def hardware(spec: ConceptSpec) -> str:
    """Return the Space's hardware flavour: that of concept.yaml, else the base model's default."""
    return spec.space.hardware or ("cpu-basic" if spec.base_model == "tiny" else "t4-small")


def serving_settings(
    name: str,
    spec: ConceptSpec,
    base: BaseModel,
    *,
    version_name: str,
    metrics: TrainingMetrics,
    model_repo: str,
    revision: str | None,
    gate: str = "",
) -> dict[str, Any]:
    """Return the content of settings.json, which the Space and the handler read.

    Args:
        name: Name of the concept.
        spec: The concept.yaml that the version was trained from, with the current `space` and `endpoint`.
        base: Preset that the version was trained on.
        version_name: Name of the served version, for example v2.
        metrics: Metrics of its training.
        model_repo: Id of the model repo, `owner/name`.
        revision: Commit that the Space downloads; None in a version's handler, which reads the files beside it.
        gate: The gate's verdict in words, for the Space's page.
    """
    return {
        "name": name,
        "title": title(name, spec),
        "emoji": spec.space.emoji,
        "placeholder_token": spec.placeholder_token,
        "placeholder_tokens": list(placeholder_tokens(spec)),
        "learnable_property": spec.learnable_property,
        "base_model": base.name,
        **({"base": spec.base.model_dump(mode="json")} if spec.base else {}),
        "resolution": spec.resolution or base.resolution,
        "model_repo": model_repo,
        "version": version_name,
        "revision": revision,
        "gate": gate,
        "metrics": metrics.model_dump(mode="json", exclude={"loss": {"rows"}}),
        "examples": [example.format(spec.placeholder_token) for example in _EXAMPLES[spec.learnable_property]],
        "endpoint": spec.endpoint.model_dump(exclude={"override"}),
    }
