"""Prefect events for changes of a concept's state, for automations.

The resource is `conceptry.concept.NAME`; the payload holds reason codes (conceptry.reasons), causes in words, versions
and addresses. A related resource, `conceptry.installation.ID`, says which installation it is about. EVENTS and
docs/reference.md list them.
"""

from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

from prefect.events import emit_event

from conceptry.actions import ActionKind, ConceptPlan, Plan
from conceptry.errors import ConceptryError
from tasks.file_io import write_atomically

PREFIX = "conceptry.concept"
EventName = Literal[
    "training",
    "published",
    "rejected",
    "undecided",
    "judged",
    "released",
    "hidden",
    "repaired",
    "lost",
    "paused",
    "degraded",
    "waiting",
    "healthy",
    "interrupted",
    "reaped",
]
EVENTS: dict[EventName, str] = {
    "training": "A training was started.",
    "published": "A version is on the Hub and passed its gate.",
    "rejected": "A version is on the Hub, but did not pass its gate.",
    "undecided": "A version is on the Hub, and its gate could not decide.",
    "judged": "A changed gate judged a version otherwise than before.",
    "released": "The Space serves a version.",
    "hidden": "The model repo and the Space were made private.",
    "repaired": "A manually changed branch or tag was reset.",
    "lost": "The commit of a desired version no longer exists on the Hub.",
    "paused": "The Space serves no version.",
    "degraded": "The concept needs a user's action.",
    "waiting": "Images are missing in the DVC remote.",
    "healthy": "The concept is healthy again.",
    "interrupted": "The process of a training was lost; the training goes on, unless it was being cancelled.",
    "reaped": "A job on Vertex AI was cancelled because no run owned it.",
}


_source: ContextVar[str] = ContextVar("installation that events are about", default="")


def set_source(installation: str) -> None:
    """Set the id of the installation that the events of this context are about."""
    _source.set(installation)


def emit(name: str, event: EventName, **payload: Any) -> None:
    """Emit `conceptry.concept.EVENT` about the concept `name` of the installation that `set_source` named."""
    installation = _source.get()
    emit_event(
        event=f"{PREFIX}.{event}",
        resource={"prefect.resource.id": f"{PREFIX}.{name}", "prefect.resource.name": name},
        related=[
            {"prefect.resource.id": f"conceptry.installation.{installation}", "prefect.resource.role": "installation"}
        ],
        payload={"concept": name, "installation": installation, **payload},
    )


def emit_changes(plan: Plan, known: Path) -> bool:
    """Emit an event for each concept that became degraded, healthy or waiting since the last plan.

    Args:
        plan: Current plan.
        known: File that holds the last plan, for this purpose only; without it every event is emitted again.

    Returns:
        Whether the plan differs from the last one.
    """
    text = plan.to_json()
    try:
        before = known.read_text(encoding="utf-8")
        conditions = {one.concept: _condition(one) for one in Plan.from_json(before).concepts}
    except (OSError, ConceptryError):
        before, conditions = "", {}
    if text == before:
        return False
    for one in plan.concepts:
        condition = _condition(one)
        if condition and condition != conditions.get(one.concept):
            action = next((action for action in one.actions if action.health == "Degraded"), one.listed[-1])
            emit(one.concept, condition, reason=action.reason, cause=action.cause, revision=plan.revision)
    write_atomically(known, text.encode())
    return True


def _condition(one: ConceptPlan) -> EventName | None:
    if one.health == "Degraded":
        return "degraded"
    if one.training.kind is ActionKind.WAIT:
        return "waiting"
    return "healthy" if one.health == "Healthy" and one.sync == "Synced" else None
