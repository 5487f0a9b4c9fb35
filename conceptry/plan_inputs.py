"""Inputs of a plan besides the desired and the live state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from conceptry.actions import Attempt
from conceptry.concept import BaseModel, ConceptSpec
from conceptry.estimate import Rate
from conceptry.refusal import Refusal
from conceptry.retraining import Failure


@dataclass(frozen=True)
class PlanInputs:
    """Planner inputs that stay fixed within one reconciliation.

    Attributes:
        bases: Base models by name.
        templates: Identity of the templates of Space and handler; part of the serving fingerprint.
        attempts: State of the newest run of each training fingerprint, if that is running, was interrupted by the loss
            of its process and may go on, or failed.
        because: Why the newest run of a training fingerprint failed, or when it is tried again, in words.
        failures: When and how the newest run of a training fingerprint failed.
        initializers: What is wrong with the initializer of a concept, in words, by its name.
        today: Date by which scheduled retrainings are due; None plans no retraining.
        image_names: Path of an image by its md5, for images that are no longer in git.
        rates: Speed and price of training, by preset or kind of checkpoint, and by `backend/` and that.
        refusals: What the Hub refused to do for a concept's card or Space, by its name.
        hub_limit: Why the Hub takes no changes now, in words; None if it does.
    """

    bases: Mapping[str, BaseModel]
    templates: str
    attempts: Mapping[str, Attempt] = field(default_factory=dict)
    because: Mapping[str, str] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)
    initializers: Mapping[str, str] = field(default_factory=dict)
    today: date | None = None
    image_names: Mapping[str, str] = field(default_factory=dict)
    rates: Mapping[str, Rate] = field(default_factory=dict)
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    hub_limit: str | None = None

    def rate(self, spec: ConceptSpec) -> Rate | None:
        """Return the rate of the backend that a concept trains on; None when it is unknown."""
        name = spec.base_model if spec.base is None else spec.base.kind
        return self.rates.get(f"{spec.training.backend}/{name}") or self.rates.get(name)
