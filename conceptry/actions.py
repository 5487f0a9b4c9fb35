"""What a plan consists of: one action for each concept, with its cause in words, sync status and health."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Literal

Sync = Literal["Synced", "OutOfSync", "Unknown"]
Health = Literal["Healthy", "Progressing", "Degraded", "Suspended", "Missing"]
Attempt = Literal["running", "failed"]


class ActionKind(StrEnum):
    """What is to be done with a concept."""

    TRAIN = "train"
    RELEASE = "release"
    RENDER = "render"
    ADOPT = "adopt"
    WAIT = "wait"
    HOLD = "hold"
    ARCHIVE = "archive"
    REPAIR = "repair"
    NOTHING = "nothing"


IDLE = frozenset({ActionKind.NOTHING, ActionKind.WAIT, ActionKind.HOLD})


@dataclass(frozen=True)
class Action:
    """One concept's action and its cause in words.

    `fingerprint` is the training fingerprint that it is about, and the run's idempotency key. `version` is the version
    that the Space should serve afterwards, for release, render, adopt and repair; None there means none. `retrain` is
    the ISO date for which a scheduled retraining fell due; it is part of the fingerprint.
    """

    concept: str
    kind: ActionKind
    cause: str
    fingerprint: str | None
    version: str | None
    sync: Sync
    health: Health
    retrain: str | None = None


@dataclass(frozen=True)
class Plan:
    """One action for every concept in git or on the Hub, by name."""

    revision: str
    actions: tuple[Action, ...]

    @property
    def changes(self) -> tuple[Action, ...]:
        """The actions that change something."""
        return tuple(action for action in self.actions if action.kind not in IDLE)

    def to_json(self) -> str:
        """Write the plan for programs, as `conceptry plan --json` prints it."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)
