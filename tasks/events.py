"""Prefect events for every change of a concept's state, for automations.

    conceptry.concept.training     a training was started
    conceptry.concept.published    vN is on the Hub
    conceptry.concept.rejected     vN is on the Hub, but did not pass its gate
    conceptry.concept.released     the Space serves vN
    conceptry.concept.repaired     a branch or tag that was changed by hand was reset
    conceptry.concept.lost         a version that git asks for is gone from the Hub for good
    conceptry.concept.paused       the Space serves nothing
    conceptry.concept.degraded     a person is needed
    conceptry.concept.waiting      images are not in the DVC remote yet
    conceptry.concept.healthy      the concept is healthy again
    conceptry.concept.reaped       a job on Vertex AI belonged to no live run and was cancelled

The resource is `conceptry.concept.NAME`; the payload holds reason codes (conceptry.reasons), causes in words, versions
and addresses.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from prefect.events import emit_event

from conceptry.actions import Plan

PREFIX = "conceptry.concept"
EventName = Literal[
    "training",
    "published",
    "rejected",
    "released",
    "repaired",
    "lost",
    "paused",
    "degraded",
    "waiting",
    "healthy",
    "reaped",
]


def emit(name: str, event: EventName, **payload: Any) -> None:
    """Emit `conceptry.concept.EVENT` about the concept `name`."""
    emit_event(
        event=f"{PREFIX}.{event}",
        resource={"prefect.resource.id": f"{PREFIX}.{name}", "prefect.resource.name": name},
        payload={"concept": name, **payload},
    )


def emit_changes(plan: Plan, known: Path) -> bool:
    """Emit an event for each concept that is degraded, healthy again, or waiting since the last plan.

    Args:
        plan: The plan as it is now.
        known: File that keeps the last plan. It serves only this; without it every event is emitted once more.

    Returns:
        Whether the plan differs from the last one.
    """
    text = plan.to_json()
    try:
        before = known.read_text(encoding="utf-8")
        health = {action["concept"]: _condition(action) for action in json.loads(before)["actions"]}
    except (OSError, ValueError, KeyError, TypeError):
        before, health = "", {}
    if text == before:
        return False
    for action in json.loads(text)["actions"]:
        condition = _condition(action)
        if condition and condition != health.get(action["concept"]):
            emit(
                action["concept"],
                condition,
                reason=action["reason"],
                cause=action["cause"],
                revision=plan.revision,
            )
    partial = known.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(known)
    return True


def _condition(action: Mapping[str, Any]) -> EventName | None:
    if action["kind"] == "wait":
        return "waiting"
    if action["health"] == "Degraded":
        return "degraded"
    return "healthy" if action["health"] == "Healthy" and action["sync"] == "Synced" else None
