"""Content of a plan: per concept one action for what is served and one for what is trained, each with its reason."""

import json
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from conceptry.errors import ConceptryError
from conceptry.isolation import printable
from conceptry.reasons import ActionReason, DeferralReason
from conceptry.version import Drift

Sync = Literal["Synced", "OutOfSync", "Unknown"]
Health = Literal["Healthy", "Progressing", "Degraded", "Suspended", "Missing"]
Attempt = Literal["running", "interrupted", "failed"]
Concern = Literal["serving", "training"]


class ActionKind(StrEnum):
    """Kind of an action."""

    HIDE = "hide"
    TRAIN = "train"
    RELEASE = "release"
    RENDER = "render"
    ADOPT = "adopt"
    JUDGE = "judge"
    WAIT = "wait"
    HOLD = "hold"
    ARCHIVE = "archive"
    REPAIR = "repair"
    NOTHING = "nothing"


IDLE = frozenset({ActionKind.NOTHING, ActionKind.WAIT, ActionKind.HOLD})
ROLLBACK = frozenset({ActionReason.RELEASE_PINNED, ActionReason.INPUTS_PUBLISHED})
"""Reasons of releases that a user asks for by naming a version or by `git revert`."""


@dataclass(frozen=True)
class Change:
    """One difference between the desired inputs in git and those of the newest version.

    `what` is a dotted key of concept.yaml, or a file below the concept's folder; for a file `old` and `new` are md5s.
    `old` is None for an addition, `new` for a removal.
    """

    what: str
    old: str | None
    new: str | None

    def printable(self) -> "Change":
        """Return it with texts that every terminal and encoding can show."""
        return Change(printable(self.what), _printable(self.old), _printable(self.new))

    def __str__(self) -> str:
        if self.old is None:
            return f"+ {self.what}"
        return f"- {self.what}" if self.new is None else f"~ {self.what} {self.old} -> {self.new}"


@dataclass(frozen=True)
class Estimate:
    """Estimated duration of a training on one accelerator, its price in US dollars, and the basis in words."""

    gpu_minutes: float
    usd: float
    basis: str


@dataclass(frozen=True)
class Action:
    """Action of one concern of a concept, with a reason code for programs and a cause in words.

    `fingerprint` is the training fingerprint of the action, and the idempotency key of its run. `version` is the
    version that the Space serves afterwards, for release, render, adopt, judge and repair; None is none. `sync` and
    `health` are those of this concern alone. `retrain` is the ISO date on which a scheduled retraining fell due; it is
    part of the fingerprint. `changes` lists the single differences that the cause sums up, `drift` what the action
    repairs, `notes` what is worth knowing about the images of a training. If the action is needed but not carried out
    now, `deferred` says why in words and `deferral` is the reason code.
    """

    concept: str
    kind: ActionKind
    reason: ActionReason
    cause: str
    fingerprint: str | None
    version: str | None
    sync: Sync
    health: Health
    retrain: str | None = None
    changes: tuple[Change, ...] = ()
    estimate: Estimate | None = None
    deferred: str | None = None
    deferral: DeferralReason | None = None
    drift: tuple[Drift, ...] = ()
    notes: tuple[str, ...] = ()

    def printable(self) -> "Action":
        """Return it with texts that every terminal and encoding can show; parts come from the Hub, DVC and git."""
        return replace(
            self,
            concept=printable(self.concept),
            cause=printable(self.cause),
            fingerprint=_printable(self.fingerprint),
            version=_printable(self.version),
            changes=tuple(change.printable() for change in self.changes),
            drift=tuple(replace(drift, detail=printable(drift.detail)) for drift in self.drift),
            notes=tuple(map(printable, self.notes)),
        )


@dataclass(frozen=True)
class ConceptPlan:
    """Plan of one concept: its two concerns are decided, deferred and carried out independently.

    `serving` is about its repos, their visibility, the card and the Space; `training` is about new versions.
    """

    concept: str
    serving: Action
    training: Action

    def printable(self) -> "ConceptPlan":
        """Return it with texts that every terminal and encoding can show."""
        return ConceptPlan(printable(self.concept), self.serving.printable(), self.training.printable())

    @property
    def actions(self) -> tuple[Action, Action]:
        """Both actions, the one about serving first."""
        return self.serving, self.training

    @property
    def sync(self) -> Sync:
        """Whether git and the Hub agree in both concerns."""
        both = {action.sync for action in self.actions}
        return "Unknown" if "Unknown" in both else "OutOfSync" if "OutOfSync" in both else "Synced"

    @property
    def health(self) -> Health:
        """Health of what is served, unless the training needs a user or is in progress."""
        both = {action.health for action in self.actions}
        return "Degraded" if "Degraded" in both else "Progressing" if "Progressing" in both else self.serving.health

    @property
    def concerns(self) -> tuple[tuple[Concern, Action], ...]:
        """Both actions with their concerns; the one that a table lists, or lists first, comes first."""
        both: tuple[tuple[Concern, Action], ...] = (("serving", self.serving), ("training", self.training))
        return both if self.serving in self.listed else both[::-1]

    @property
    def listed(self) -> tuple[Action, ...]:
        """The actions that a table lists, one or two: none that does nothing beside one that does, none twice."""
        busy = tuple(action for action in self.actions if action.kind is not ActionKind.NOTHING)
        if len(busy) == 2 and busy[0].reason is busy[1].reason:
            short, long = sorted(busy, key=lambda action: len(action.cause))
            return (long,) if long.cause.startswith(short.cause) else busy
        if busy:
            return busy
        noted = self.training.health == "Progressing" or self.training.reason is ActionReason.RETRAIN_FAILED
        return (self.training if noted else self.serving,)


@dataclass(frozen=True)
class Plan:
    """Plans of every concept in git or on the Hub, by name.

    `hub` is the digest of the live state; a saved plan whose digest differs from the current one is outdated.
    """

    revision: str
    concepts: tuple[ConceptPlan, ...]
    hub: str = ""

    @property
    def actions(self) -> tuple[Action, ...]:
        """The actions of all concepts, two of each."""
        return tuple(action for concept in self.concepts for action in concept.actions)

    @property
    def changes(self) -> tuple[Action, ...]:
        """The actions that change something, now or later."""
        return tuple(action for action in self.actions if action.kind not in IDLE)

    @property
    def due(self) -> tuple[Action, ...]:
        """The actions that change something now, the most urgent first."""
        return tuple(sorted((action for action in self.changes if action.deferred is None), key=urgency))

    @property
    def urgent(self) -> tuple[Action, ...]:
        """Those of `due` that hide or take down."""
        return tuple(action for action in self.due if urgency(action) <= TAKEDOWN)

    @property
    def estimate(self) -> Estimate | None:
        """Sum over all trainings; None if no training has an estimate."""
        each = [action.estimate for action in self.changes if action.estimate]
        if not each:
            return None
        minutes, usd = sum(one.gpu_minutes for one in each), sum(one.usd for one in each)
        return Estimate(round(minutes, 1), round(usd, 2), f"{len(each)} trainings")

    def to_json(self) -> str:
        """Return the JSON that `conceptry plan --json` prints; empty optional fields are left out.

        Of a concept's two actions the one that a table lists first comes first.
        """
        data: dict[str, Any] = {"revision": self.revision, **({"hub": self.hub} if self.hub else {})}
        data["concepts"] = {one.concept: {"sync": one.sync, "health": one.health} for one in self.concepts}
        data["actions"] = [_dump(concern, action) for one in self.concepts for concern, action in one.concerns]
        if total := self.estimate:
            data["estimate"] = asdict(total)
        return json.dumps(data, indent=2, ensure_ascii=False)

    @staticmethod
    def from_json(text: str | bytes) -> "Plan":
        """Parse the JSON that `to_json` returned.

        Raises:
            ConceptryError: the text is not a saved plan.
        """
        try:
            saved = _SAVED.validate_json(text)
            actions = {(one.concept, one.concern): one.action() for one in saved.actions}
            concepts = tuple(
                ConceptPlan(name, actions[name, "serving"], actions[name, "training"]) for name in saved.concepts
            )
        except (ValidationError, KeyError) as error:
            first = str(error).splitlines()[0]
            raise ConceptryError(
                f"the file is not a saved plan: {first}", next_step="save one with `conceptry plan --out FILE`"
            ) from None
        return Plan(saved.revision, concepts, saved.hub)


TAKEDOWN = 1
"""Rank of the actions that take something down; what hides is more urgent, everything else less."""


def urgency(action: Action) -> int:
    """Return the rank by which actions are carried out: what hides something first, trainings last."""
    if action.kind is ActionKind.HIDE:
        return 0
    if action.kind is ActionKind.ARCHIVE or action.reason is ActionReason.RELEASE_NONE:
        return TAKEDOWN
    if action.reason in ROLLBACK:
        return 2
    return 4 if action.kind is ActionKind.TRAIN else 3


@dataclass(frozen=True)
class Status:
    """Status of a concept in both of its concerns together."""

    sync: Sync
    health: Health


@dataclass(frozen=True)
class SavedAction(Action):
    """Action in the JSON of a plan, with its concern."""

    concern: Concern = "serving"

    def action(self) -> Action:
        """Return the action without its concern."""
        return Action(**{each.name: getattr(self, each.name) for each in fields(Action)})


@dataclass(frozen=True)
class SavedPlan:
    """JSON of a plan."""

    revision: str
    concepts: dict[str, Status]
    actions: tuple[SavedAction, ...]
    estimate: Estimate | None = None
    hub: str = ""


def plan_schema() -> dict[str, Any]:
    """Return the JSON Schema of `conceptry plan --json`, committed as docs/plan.schema.json."""
    schema = _SAVED.json_schema(mode="serialization")
    for definition in (schema, *schema["$defs"].values()):
        definition.pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Conceptry plan", **schema}


def _printable(text: str | None) -> str | None:
    return None if text is None else printable(text)


_OPTIONAL = ("changes", "estimate", "deferred", "deferral", "drift", "notes")


def _dump(concern: Concern, action: Action) -> dict[str, Any]:
    values = {"concept": action.concept, "concern": concern, **asdict(action)}
    return {key: value for key, value in values.items() if value or key not in _OPTIONAL}


_SAVED = TypeAdapter(SavedPlan)
