"""Prefect events for every change of a concept's state, so that people can hang automations on them.

    conceptry.concept.training     a training was started
    conceptry.concept.published    vN is on the Hub
    conceptry.concept.rejected     vN is on the Hub, but did not pass its gate
    conceptry.concept.released     the Space serves vN
    conceptry.concept.repaired     a branch or tag that somebody moved by hand was put back
    conceptry.concept.lost         a version that git asks for is gone from the Hub for good
    conceptry.concept.paused       the Space serves nothing
    conceptry.concept.degraded     a person is needed
    conceptry.concept.waiting      images are not in the DVC remote yet
    conceptry.concept.healthy      all is well (again)
    conceptry.concept.reaped       a job on Vertex AI belonged to no live run and was cancelled

The resource is `conceptry.concept.NAME`; versions, causes and addresses are in the payload.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.events import emit_event

from conceptry.actions import Plan

PREFIX = "conceptry.concept"


def tell(name: str, what: str, **payload: Any) -> None:
    """Emit `conceptry.concept.WHAT` about the concept `name`."""
    emit_event(
        event=f"{PREFIX}.{what}",
        resource={"prefect.resource.id": f"{PREFIX}.{name}", "prefect.resource.name": name},
        payload={"concept": name, **payload},
    )


def tell_changes(plan: Plan, known: Path) -> bool:
    """Tell which concepts fell ill, recovered, or have to wait since the last plan; whether it is another one at all.

    Args:
        plan: as it is now.
        known: file that keeps the last plan. It is here for this alone; without it everything is told once more.
    """
    text = plan.to_json()
    try:
        before = known.read_text(encoding="utf-8")
        moods = {action["concept"]: _mood(action) for action in json.loads(before)["actions"]}
    except (OSError, ValueError, KeyError, TypeError):
        before, moods = "", {}
    if text == before:
        return False
    for action in json.loads(text)["actions"]:
        mood = _mood(action)
        if mood and mood != moods.get(action["concept"]):
            tell(action["concept"], mood, cause=action["cause"], revision=plan.revision)
    partial = known.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(known)
    return True


def _mood(action: Mapping[str, Any]) -> str | None:
    if action["kind"] == "wait":
        return "waiting"
    if action["health"] == "Degraded":
        return "degraded"
    return "healthy" if action["health"] == "Healthy" and action["sync"] == "Synced" else None
