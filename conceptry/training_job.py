"""Specification of a training run: one concept at one commit, under one fingerprint."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from conceptry.concept import BaseModel, ConceptSpec
from conceptry.desired import Desired, DesiredConcept
from conceptry.errors import ConceptryError, DataMissingError, UnknownConceptError
from conceptry.fingerprint import trainer_config, training_fingerprint


@dataclass(frozen=True)
class TrainingJob:
    """One training, with every input of its fingerprint.

    Attributes:
        name: The concept.
        revision: Git commit whose files are trained.
        fingerprint: Training fingerprint; unique to the version that the training makes.
        retrain: ISO date for which a scheduled retraining of the same inputs was due; else None.
        desired: The concept in git at the revision.
        spec: Its concept.yaml.
        base: The base model.
    """

    name: str
    revision: str
    fingerprint: str
    retrain: str | None
    desired: DesiredConcept
    spec: ConceptSpec
    base: BaseModel

    @property
    def inputs(self) -> str:
        """Fingerprint without the retraining's date, shared by all versions of the same inputs."""
        return training_fingerprint(self.spec, self.desired.images or (), self.base)

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.spec.resolution or self.base.resolution

    @property
    def needs_clip(self) -> bool:
        """Whether the concept's gate needs CLIP scores."""
        return self.spec.gate.min_clip_gain is not None

    @property
    def config(self) -> dict[str, Any]:
        """Configuration of the trainer.

        A retraining draws other training noise, or it would reproduce the same version. `training.seed`, which selects
        the held-out images, stays: the released version that it has to beat was not trained on them either.
        """
        config = trainer_config(self.spec)
        if self.retrain:
            day = date.fromisoformat(self.retrain).toordinal()
            config["training"]["noise_seed"] = (self.spec.training.seed + day) % 2**31
        return config

    def backend(self, default: Literal["local", "vertex"]) -> Literal["local", "vertex"]:
        """Return the backend that concept.yaml names, else the default."""
        return self.spec.training.backend or default


def training_job(
    desired: Desired,
    name: str,
    base_of: Callable[[ConceptSpec], BaseModel],
    *,
    retrain: str | None = None,
    expected: str | None = None,
) -> TrainingJob:
    """Return the training of a concept as it is in git.

    Args:
        desired: Desired state, with the images listed.
        name: The concept.
        base_of: Returns the base model that a spec names.
        retrain: ISO date of a scheduled retraining.
        expected: Fingerprint in the plan; None skips the comparison.

    Raises:
        SpecError: concept.yaml or images.dvc has mistakes.
        DataMissingError: the images are not in the DVC remote.
        UnknownConceptError: the concept does not exist.
        ConceptryError: it has another fingerprint than the expected one.
    """
    concept = desired.concepts.get(name)
    if concept is None:
        what = f"is not in git at {desired.revision[:12]}"
        raise UnknownConceptError(what, concept=name, next_step="check the concept's name: `ls concepts/`")
    if concept.error is not None or concept.spec is None:
        raise concept.error or ConceptryError("has no concept.yaml", concept=name)
    if concept.images is None:
        what = "its images are in git but not in the DVC remote"
        raise DataMissingError(what, concept=name, next_step="run `dvc push`")
    base = base_of(concept.spec)
    fingerprint = training_fingerprint(concept.spec, concept.images, base, retrain)
    if expected not in (None, fingerprint):
        raise ConceptryError(
            f"has the fingerprint {fingerprint[:12]} here, not {str(expected)[:12]} as in the plan",
            concept=name,
            next_step="let watcher and workers run the same release of Conceptry; the next plan starts a new run",
        )
    return TrainingJob(name, desired.revision, fingerprint, retrain, concept, concept.spec, base)
