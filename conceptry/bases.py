"""bases.yaml at the top of the repository: base models besides the presets, an optional file.

    my-photoreal:
      kind: sd1
      prediction: epsilon
      checkpoint: photoreal.safetensors
      content: 64 hex digits
      files: {photoreal.safetensors: 64 hex digits}

`conceptry base add` writes the entries. concept.yaml names one in `base_model`.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, RootModel
from pydantic import BaseModel as Model

from conceptry.errors import SpecError
from conceptry.yaml_spec import validate_yaml

PATH = "bases.yaml"
NAME = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
PRESETS = ("tiny", "sd-v1-4")
_SHA256 = r"^[0-9a-f]{64}$"
Sha256 = Annotated[str, Field(pattern=_SHA256)]


def check_base_name(name: str) -> str:
    """Return the name of a base model.

    Raises:
        ValueError: it is not 1 to 63 lower-case letters and digits with single hyphens or dots between them.
    """
    if len(name) > 63 or not NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a base model: use lower-case letters and digits with single hyphens or dots between "
            "them, 63 at most, for example sd-1.5"
        )
    return name


def _own_name(name: str) -> str:
    if name in PRESETS:
        raise ValueError(f"{name} is a preset; choose another name")
    return check_base_name(name)


def _relative(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or not path.isprintable() or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} is not a path below the folder of weights")
    return path


RelativePath = Annotated[str, AfterValidator(_relative), Field(min_length=1, max_length=300)]


class BaseEntry(Model):
    """Base model that is no preset: a Stable Diffusion checkpoint with its files below a folder of weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["sd1", "sd2"] = Field(description="Architecture: Stable Diffusion 1.x or 2.x.")
    prediction: Literal["epsilon", "v"] = Field(description="What its UNet predicts: the noise, or the velocity.")
    resolution: int = Field(512, ge=64, le=1024, multiple_of=64, description="Side of the images in pixels.")
    checkpoint: RelativePath = Field(description="The .safetensors file, or the folder of diffusers.")
    content: Sha256 = Field(description="Digest of the weights that a training reads, whatever the files' names.")
    files: dict[RelativePath, Sha256] = Field(description="sha256 of each file by its path.", min_length=1)
    sources: dict[RelativePath, list[str]] = Field(
        default_factory=dict, description="Addresses of files that can be downloaded, by their path."
    )
    hub: str | None = Field(None, description="Model repo on the Hub that the cards name as base model, owner/name.")
    license: str | None = Field(None, description="Its licence, as the Hub names licences.")


class _File(RootModel[dict[Annotated[str, AfterValidator(_own_name)], BaseEntry]]):
    """bases.yaml."""


def load_bases(text: str | None) -> Mapping[str, BaseEntry]:
    """Parse and validate bases.yaml; without the file there are none.

    Raises:
        SpecError: the file has mistakes; all of them are listed.
    """
    written = (line.partition("#")[0].strip() for line in (text or "").splitlines())
    return validate_yaml(_File, text or "", PATH).root if any(written) else {}


def bases_schema() -> dict[str, Any]:
    """Return the JSON Schema of bases.yaml, committed as docs/bases.schema.json for editors."""
    schema = _File.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": PATH}


class UnreadableBases(dict[str, BaseEntry]):
    """No base models, because bases.yaml has mistakes: the error of each concept that names one of it."""

    def __init__(self, error: SpecError) -> None:
        super().__init__()
        self.error = error
