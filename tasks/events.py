"""Prefect events for changes of a concept's state, for automations.

The resource is `conceptry.concept.NAME`, or `conceptry.installation.ID`; the payload holds reason codes
(conceptry.reasons), causes in words, versions and addresses. A related resource, `conceptry.installation.ID`, says
which installation it is about. EVENTS, INSTALLATION_EVENTS and docs/reference.md list them; flows/automations.py
declares the automations about them.
"""

from contextvars import ContextVar
from typing import Any, Literal

PREFIX = "conceptry.concept"
INSTALLATION_PREFIX = "conceptry.installation"
EventName = Literal[
    "training",
    "failed",
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
    "overdue",
    "healthy",
    "interrupted",
    "host-lost",
    "reaped",
]
EVENTS: dict[EventName, str] = {
    "training": "A training was started.",
    "failed": "A training failed; it is not tried again at once.",
    "published": "A version is on the Hub and passed its gate.",
    "rejected": "A version is on the Hub, but did not pass its gate.",
    "undecided": "A version is on the Hub, and its gate could not decide.",
    "judged": "A changed gate judged a version otherwise than before.",
    "released": "The Space serves a version.",
    "hidden": "The model repo and the Space were made private.",
    "repaired": "A branch, tag, card or Space that was changed manually was put back.",
    "lost": "The commit of a desired version no longer exists on the Hub.",
    "paused": "The Space serves no version.",
    "degraded": "The concept needs a user's action.",
    "waiting": "Images are missing in the DVC remote.",
    "overdue": "Images have been missing in the DVC remote for more than a day.",
    "healthy": "The concept is healthy again.",
    "interrupted": "The process of a training was lost; the training goes on, unless it was being cancelled.",
    "host-lost": "The machine of a training gives no sign of life; follows `interrupted`.",
    "reaped": "A job on Vertex AI was cancelled because no run owned it.",
}
InstallationEventName = Literal["over-budget"]
INSTALLATION_EVENTS: dict[InstallationEventName, str] = {
    "over-budget": "Trainings wait because this month's budget is spent, or does not suffice for them.",
}

_source: ContextVar[str] = ContextVar("installation that events are about", default="")


def set_source(installation: str) -> None:
    """Set the id of the installation that the events of this context are about."""
    _source.set(installation)


def emit(name: str, event: EventName, **payload: Any) -> None:
    """Emit `conceptry.concept.EVENT` about the concept `name` of the installation that `set_source` named."""
    _emit(f"{PREFIX}.{event}", f"{PREFIX}.{name}", name, {"concept": name, **payload})


def emit_of_installation(event: InstallationEventName, **payload: Any) -> None:
    """Emit `conceptry.installation.EVENT` about the installation that `set_source` named."""
    installation = _source.get()
    _emit(f"{INSTALLATION_PREFIX}.{event}", f"{INSTALLATION_PREFIX}.{installation}", installation, payload)


def _emit(event: str, resource: str, name: str, payload: dict[str, Any]) -> None:
    from prefect.events import emit_event  # takes seconds to import, and commands that only read emit nothing

    installation = _source.get()
    emit_event(
        event=event,
        resource={"prefect.resource.id": resource, "prefect.resource.name": name},
        related=[
            {
                "prefect.resource.id": f"{INSTALLATION_PREFIX}.{installation}",
                "prefect.resource.role": "installation",
            }
        ],
        payload={"installation": installation, **payload},
    )
