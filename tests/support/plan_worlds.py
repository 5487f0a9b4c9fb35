"""Small worlds for the tests of the plan: what git asks for, what the Hub holds."""

from hashlib import md5
from typing import Any

from conceptry.actions import ConceptPlan
from conceptry.concept import BaseModel, ConceptSpec
from conceptry.desired import Desired, DesiredConcept, ImageRef
from conceptry.fingerprint import content_keys, serving_fingerprint, training_fingerprint, training_keys
from conceptry.plan import plan
from conceptry.plan_inputs import PlanInputs
from conceptry.version import Live, LiveConcept, SpaceState, Version

TINY = BaseModel("tiny", "7" * 64, 1, 64)
BASES = {"tiny": TINY, "sd-v1-4": BaseModel("sd-v1-4", "8" * 64, 1, 512)}
TEMPLATES = "t" * 64


def spec_of(**changes: Any) -> ConceptSpec:
    return ConceptSpec.model_validate({"placeholder_token": "<my-cat>", "initializer_token": "cat", **changes})


def images_of(letters: str) -> tuple[ImageRef, ...]:
    return tuple(ImageRef(f"{letter}.jpg", md5(letter.encode()).hexdigest()) for letter in letters)


def dvc_of(letters: str) -> str:
    return md5(f"dir {letters}".encode()).hexdigest() + ".dir"


def wanted_of(letters: str = "abc", **changes: Any) -> DesiredConcept:
    return DesiredConcept("my-cat", spec_of(**changes), None, dvc_of(letters), images_of(letters))


def version_of(number: int, letters: str = "abc", *, base: BaseModel = TINY, **fields: Any) -> Version:
    """A version that was trained of these images; fields of concept.yaml go into `spec`, others are the version's."""
    spec = spec_of(**fields.pop("spec", {}))
    inputs = training_fingerprint(spec, images_of(letters), base)
    retrain = fields.get("retrain")
    values = {
        "fingerprint": training_fingerprint(spec, images_of(letters), base, retrain),
        "inputs": inputs,
        "commit": "c" * 40,
        "gate": "passed",
        "dvc_md5": dvc_of(letters),
        "created": "2026-11-01T12:00:00+00:00",
        "loss": 0.05,
        "images": content_keys(images_of(letters)),
        "spec": training_keys(spec, base),
        **fields,
    }
    return Version(number, **values)


def serving_of(version: Version, templates: str = TEMPLATES, **changes: Any) -> SpaceState:
    """A Space as it is after a release of this version."""
    return SpaceState(version.name, serving_fingerprint(spec_of(**changes), version, templates))


def act(
    wanted: DesiredConcept | None,
    *versions: Version,
    space: SpaceState | None = None,
    there: LiveConcept | None = None,
    **knowledge: Any,
) -> ConceptPlan:
    """Plan for the one concept my-cat; `there` is the Hub's side as a whole."""
    desired = Desired("r" * 40, {} if wanted is None else {wanted.name: wanted})
    there = there or (LiveConcept("my-cat", versions, space) if versions or space else None)
    live = Live({"my-cat": there} if there else {})
    inputs = PlanInputs(**{"bases": BASES, "templates": TEMPLATES, **knowledge})
    (one,) = plan(desired, live, inputs).concepts
    assert one.concept == "my-cat"
    return one
