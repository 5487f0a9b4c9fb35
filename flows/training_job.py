"""What a training run is asked to make: one concept at one commit, under one fingerprint."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from conceptry.concept import BaseModel, ConceptSpec, DesiredConcept
from conceptry.errors import ConceptryError, DataMissingError
from conceptry.fingerprint import trainer_config, training_fingerprint
from conceptry.settings import Settings
from flows import state


@dataclass(frozen=True)
class Order:
    """What is to be trained: a concept at a revision, with all that its fingerprint is made of.

    `retrain` is the ISO date for which a scheduled retraining of the same inputs was due.
    """

    name: str
    revision: str
    fingerprint: str
    retrain: str | None
    wanted: DesiredConcept
    spec: ConceptSpec
    base: BaseModel

    @property
    def inputs(self) -> str:
        """Fingerprint without the date, shared by the versions of the same inputs."""
        return training_fingerprint(self.spec, self.wanted.images or (), self.base)

    @property
    def scored(self) -> bool:
        """Whether its gate asks for CLIP scores."""
        return self.spec.gate.min_clip_gain is not None

    @property
    def config(self) -> dict[str, Any]:
        """The trainer's configuration.

        A retraining draws other training noise, or it would give the same version again; what it is judged on stays
        (`training.seed` chooses the held-out images and their noise), or the losses could not be compared.
        """
        config = trainer_config(self.spec)
        if self.retrain:
            day = date.fromisoformat(self.retrain).toordinal()
            config["training"]["noise_seed"] = (self.spec.training.seed + day) % 2**31
        return config


def make_order(
    settings: Settings, name: str, revision: str | None, retrain: str | None = None, expected: str | None = None
) -> Order:
    """Read what is to be trained of a concept.

    Args:
        settings: of this installation.
        name: the concept.
        revision: git commit; None for the head of the branch.
        retrain: ISO date of a scheduled retraining.
        expected: the fingerprint that the plan saw.

    Raises:
        SpecError: concept.yaml or images.dvc has mistakes.
        DataMissingError: the images are not in the DVC remote.
        ConceptryError: there is no such concept, or it does not have the expected fingerprint.
    """
    desired = state.list_images(settings, state.read_git(settings, revision, only=name))
    wanted = desired.concepts.get(name)
    if wanted is None:
        raise ConceptryError(f"is not in git at {desired.revision[:12]}", concept=name, next_step="look at its name")
    if wanted.error is not None or wanted.spec is None:
        raise wanted.error or ConceptryError("has no concept.yaml", concept=name)
    if wanted.images is None:
        what = "its images are in git but not in the DVC remote"
        raise DataMissingError(what, concept=name, next_step="run `dvc push`")
    base = state.bases()[wanted.spec.base_model]
    fingerprint = training_fingerprint(wanted.spec, wanted.images, base, retrain)
    if expected not in (None, fingerprint):
        raise ConceptryError(
            f"has the fingerprint {fingerprint[:12]} here, not {str(expected)[:12]} as the plan saw it",
            concept=name,
            next_step="let watcher and workers run the same release of Conceptry; the next plan starts a new run",
        )
    return Order(name, desired.revision, fingerprint, retrain, wanted, wanted.spec, base)
