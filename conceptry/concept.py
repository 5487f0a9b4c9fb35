"""Spec of a concept: the keys of concept.yaml, their bounds and defaults. `load_spec` is its only reader."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag
from pydantic import BaseModel as Model
from pydantic.json_schema import SkipJsonSchema

from conceptry.bases import PATH as BASES_FILE
from conceptry.bases import PRESETS, BaseEntry, UnreadableBases, check_base_name
from conceptry.errors import Problem, SpecError
from conceptry.initializer import InitialVersion, check_initializer
from conceptry.suggestion import did_you_mean
from conceptry.templates import handler_files, programs, template_file
from conceptry.yaml_spec import key_line, validate_yaml

NAME = re.compile(r"(?=.{1,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*")
PLACEHOLDER = re.compile(r"<[a-z0-9][a-z0-9_-]{0,61}>")
RELEASE = re.compile(r"latest|none|v[1-9][0-9]{0,5}")
BASE_MODELS = PRESETS
PROMPT_TOKENS = {"tiny": 22, "sd-v1-4": 75}
"""Tokens that fit a prompt of a preset, between its start and end; those of a checkpoint are as many as CLIP's, 75."""


def _placeholder(token: str) -> str:
    if not PLACEHOLDER.fullmatch(token):
        raise ValueError(
            f"{token!r} is not a placeholder token: write lower-case letters, digits, - and _ in angle brackets, "
            "for example <my-cat>"
        )
    return token


def _release(release: str) -> str:
    if not RELEASE.fullmatch(release):
        raise ValueError(f"{release!r} is not one of: latest, none, or a version such as v3")
    return release


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError(f"{text!r} is not one line of text")
    return text


def _template(text: str) -> str:
    if not text.isprintable() or text.count("{}") != 1 or re.search(r"[{}]", text.replace("{}", "")):
        raise ValueError(f"{text!r} is not a template: write one sentence with one {{}} where the token goes")
    return text


Override = dict[Annotated[str, AfterValidator(template_file)], Annotated[str, Field(max_length=200_000)]]
"""Template files by name, each with its complete text."""


class _Section(Model):
    """Frozen, strict section of concept.yaml; an unknown key is an error, because no code would read it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TrainingSpec(_Section):
    """Training settings. A value that is left out is the base model's default."""

    max_steps: int | None = Field(
        None, ge=1, le=100_000, description="Optimizer steps at most; null takes the base model's default."
    )
    learning_rate: float | None = Field(
        None, gt=0, le=1, description="Learning rate of Adam; null takes the base model's default."
    )
    batch_size: int | None = Field(None, ge=1, le=64, description="Images a step; null takes the base model's default.")
    early_stopping: bool = Field(True, description="Stop before max_steps when the evaluation loss no longer improves.")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of noise, prompts and augmentation.")
    held_out: int | None = Field(
        None,
        ge=0,
        le=100,
        description="Images kept out of training to judge the result; two different ones always stay in. null takes "
        "about a third, four at most; two images are judged by short trainings on one of them.",
    )
    flips: bool | None = Field(
        None,
        description="Mirror half of the crops that are trained on. Set false where left and right matter, as with "
        "letters and logos; null takes the base model's default.",
    )
    mask: Literal["alpha"] | None = Field(
        None,
        description="alpha: learn only what the images' alpha channels show, not the ground behind; null learns all.",
    )
    backend: Literal["local", "vertex"] | None = Field(
        None, description="Where to train; null takes the deployment's own. Changes here never train again."
    )
    templates: tuple[Annotated[str, AfterValidator(_template)], ...] | None = Field(
        None,
        min_length=1,
        max_length=200,
        strict=False,
        description="Sentences to train with, each with {} for the token; null takes those of learnable_property.",
    )


class GateSpec(_Section):
    """Thresholds that a version must reach for `release: latest` to serve it."""

    min_improvement: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Fraction by which the held-out loss must be lower than without training: than with the "
        "initializer, the mean of all words and an empty prompt; null takes the base model's default.",
    )
    confidence: float = Field(
        0.95, ge=0.5, lt=1, description="Confidence of the verdict; a higher one leaves more versions undecided."
    )
    min_clip_gain: float | None = Field(
        None,
        ge=0,
        lt=100,
        description="Points by which the samples' CLIP score with the concept's images must exceed that of the "
        "initializer's samples; needs a CLIP model where it is trained. null requires none.",
    )


class RetrainSpec(_Section):
    """Train the same inputs again on a schedule; the result is released only if it is better."""

    every_days: int = Field(ge=1, le=3650, description="Days since the last version of these inputs.")


class SpaceSpec(_Section):
    """The concept's Space on the Hub. Changes here render it again and never train."""

    title: Annotated[str, AfterValidator(_one_line)] | None = Field(
        None, max_length=60, description="Title of the Space; null derives it from the concept's name."
    )
    emoji: Annotated[str, AfterValidator(_one_line)] = Field(
        "🎨", max_length=8, description="One emoji, shown on the Space's card."
    )
    hardware: Annotated[str, AfterValidator(_one_line)] | None = Field(
        None,
        max_length=40,
        description="Hardware flavour of the Space; null takes t4-small, and cpu-basic for tiny, which needs no GPU.",
    )
    sleep_minutes: int = Field(
        15, ge=5, le=43_200, description="Idle minutes until rented hardware is released; a visitor wakes the Space."
    )
    private: bool = Field(False, description="Whether model repo and Space are visible to their owner only.")
    override: Annotated[Override, AfterValidator(programs)] = Field(
        {},
        description="Files of the Space's template to replace for this concept, each with its complete text, for "
        "example theme.py: | ... A new name adds a file.",
    )


class EndpointSpec(_Section):
    """The Inference Endpoint that the Space's Deploy tab proposes."""

    vendor: Literal["aws", "azure", "gcp"] = Field("aws", description="Cloud that runs the endpoint.")
    region: Annotated[str, AfterValidator(_one_line)] = Field(
        "us-east-1", max_length=40, description="Region of that cloud."
    )
    accelerator: Literal["cpu", "gpu"] = Field("gpu", description="Kind of machine.")
    instance_type: Annotated[str, AfterValidator(_one_line)] = Field(
        "nvidia-t4", max_length=40, description="Instance type, as the Hub's catalogue names it."
    )
    instance_size: Annotated[str, AfterValidator(_one_line)] = Field(
        "x1", max_length=20, description="Instance size, as the Hub's catalogue names it."
    )
    min_replica: int = Field(0, ge=0, le=10, description="Minimum of replicas; 0 scales to zero without requests.")
    max_replica: int = Field(1, ge=1, le=10, description="Maximum of replicas.")
    override: Annotated[Override, AfterValidator(handler_files)] = Field(
        {},
        description="Files of the handler's template to replace for this concept, from its next version on (a "
        "published one never changes), each with its complete text. handler.py must keep the class EndpointHandler; a "
        "new name adds a file.",
    )


def _retrain_tag(value: object) -> str:
    return "every" if isinstance(value, (dict, RetrainSpec)) else "never"


class ConceptSpec(_Section):
    """Content of concept.yaml: the token, its training, and which version is released."""

    placeholder_token: Annotated[str, AfterValidator(_placeholder)] = Field(
        description="The new token that stands for the concept in prompts, for example <my-cat>; unique over the repo.",
        json_schema_extra={"pattern": f"^{PLACEHOLDER.pattern}$"},
    )
    initializer_token: Annotated[str, AfterValidator(check_initializer)] = Field(
        description="What to start from: one known word, for example cat; up to four, for example stuffed animal; or "
        "the vectors of a published version, for example my-cat@v3."
    )
    learnable_property: Literal["object", "style"] = Field(
        "object", description="Whether the images share a thing or a style; chooses the training prompts."
    )
    num_vectors: int = Field(
        1,
        ge=1,
        le=75,
        description="Vectors to learn; each takes one of the prompt's positions, 22 in tiny and 75 in sd-v1-4.",
    )
    base_model: Annotated[str, AfterValidator(check_base_name)] = Field(
        "tiny",
        description="The diffusion model that learns the token: tiny for laptops, sd-v1-4 for production, or a name of "
        "bases.yaml.",
    )
    base: SkipJsonSchema[BaseEntry | None] = Field(None, description="Entry of bases.yaml that `base_model` names.")
    resolution: int | None = Field(
        None,
        ge=64,
        le=1024,
        multiple_of=64,
        description="Side of the images in pixels; null takes the model's default.",
    )
    training: TrainingSpec = Field(TrainingSpec(), description="How to train.")
    gate: GateSpec = Field(GateSpec(), description="Thresholds that a version must reach to be released.")
    release: Annotated[str, AfterValidator(_release)] = Field(
        "latest",
        description="What the Space serves: latest (the newest version that passed its gate), vN, or none.",
        json_schema_extra={"pattern": f"^(?:{RELEASE.pattern})$"},
    )
    retrain: Annotated[
        Annotated[Literal["never"], Tag("never")] | Annotated[RetrainSpec, Tag("every")], Discriminator(_retrain_tag)
    ] = Field("never", description="never, or {every_days: N}: train again on a schedule while release is latest.")
    suspend: bool = Field(
        False, description="Train nothing, and change what is served only to hide it, take it down or roll it back."
    )
    space: SpaceSpec = Field(SpaceSpec(), description="The concept's Space.")
    endpoint: EndpointSpec = Field(EndpointSpec(), description="The Inference Endpoint proposed for it.")

    @property
    def initial_version(self) -> InitialVersion | None:
        """The version whose vectors its training starts from; None if it starts from words."""
        return InitialVersion.parse(self.initializer_token)


@dataclass(frozen=True)
class BaseModel:
    """Preset as fingerprints use it: digest of its weights, the trainer's RECIPE, default resolution in pixels.

    `defaults` are the values, by training key, that the trainer takes where concept.yaml says nothing. In no
    fingerprint are `min_improvement`, the gate's default threshold, and two texts: what it draws, and what a training
    of it needs. Of a checkpoint the `kind` stands in fingerprints instead of its name.
    """

    name: str
    digest: str
    recipe: int
    resolution: int
    min_improvement: float = 0.0
    draws: str = ""
    needs: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict, hash=False)
    kind: str | None = None


def spec_path(name: str) -> str:
    """Return the path of a concept's concept.yaml in the repo."""
    return f"concepts/{name}/concept.yaml"


def load_spec(text: str, path: str, bases: Mapping[str, BaseEntry] = MappingProxyType({})) -> ConceptSpec:
    """Parse and validate concept.yaml.

    Args:
        text: Content of the file.
        path: Its path, for messages.
        bases: Entries of bases.yaml by name.

    Raises:
        SpecError: the file has mistakes; each is listed with its line and the allowed values.
    """
    spec = validate_yaml(ConceptSpec, text, path)
    if key_line(text, "base"):
        words = f"is no key of concept.yaml; describe the base model in {BASES_FILE}, and name it in base_model"
        raise SpecError([Problem(key_line(text, "base"), "base", words)], path)
    if spec.base_model in bases:
        spec = spec.model_copy(update={"base": bases[spec.base_model]})
    elif spec.base_model not in BASE_MODELS:
        raise SpecError([Problem(key_line(text, "base_model"), "base_model", _no_base(spec.base_model, bases))], path)
    if spec.num_vectors > (most := PROMPT_TOKENS.get(spec.base_model, PROMPT_TOKENS["sd-v1-4"])):
        words = f"must be at most {most} with base_model {spec.base_model}, whose prompts hold {most} tokens"
        raise SpecError([Problem(key_line(text, "num_vectors"), "num_vectors", words)], path)
    return spec


def _no_base(name: str, bases: Mapping[str, BaseEntry]) -> str:
    if isinstance(bases, UnreadableBases):
        return f"{name!r} is not one of: {', '.join(BASE_MODELS)}; and {bases.error}"
    known = [*BASE_MODELS, *sorted(bases)]
    question = did_you_mean(name, known)
    return f"{name!r} is not one of: {', '.join(known)}" + (f"; {question}" if question else "")


def dump_spec(spec: ConceptSpec) -> dict[str, Any]:
    """Return all keys with their values, and the entry of the base model if it is no preset."""
    return spec.model_dump(mode="json", exclude=None if spec.base else {"base"})


def check_name(name: str) -> None:
    """Validate the name of a concept, which is also the name of its model repo and its Space.

    Raises:
        SpecError: the name is not 1 to 63 lower-case letters and digits with single hyphens between them.
    """
    if not NAME.fullmatch(name):
        message = (
            f"{name!r} cannot name a concept: use lower-case letters and digits with single hyphens between them, "
            "63 at most, for example my-cat"
        )
        raise SpecError([Problem(None, "", message)], f"concepts/{name}")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of concept.yaml, committed as concepts/concept.schema.json for editors."""
    schema = ConceptSpec.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Conceptry concept"}
