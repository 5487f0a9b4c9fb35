"""Events of an installation as lines for a terminal: when, which concept, what happened, and an address."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.text import Text

from tasks.events import INSTALLATION_PREFIX, PREFIX, EventName, InstallationEventName

LONGEST = 240
"""Characters of a cause that a line shows."""

WORDS: dict[EventName | InstallationEventName, str] = {
    "training": "training started",
    "failed": "training failed: {cause}",
    "published": "{version} published; it passed its gate",
    "rejected": "{version} published; its gate rejected it: {cause}",
    "undecided": "{version} published; its gate is undecided: {cause}",
    "judged": "{version} judged again, {cause}",
    "released": "{version} released",
    "hidden": "made private: {cause}",
    "repaired": "repaired: {cause}",
    "lost": "the commit of {version} is no longer on the Hub: {cause}",
    "paused": "Space paused: {cause}",
    "degraded": "needs you: {cause}",
    "waiting": "waits: {cause}",
    "overdue": "waits for its images since {since}: {cause}",
    "healthy": "in sync",
    "interrupted": "training interrupted; it is resumed: {cause}",
    "host-lost": "the machine of its training is lost: {cause}",
    "reaped": "job {job} on Vertex AI cancelled; no run owned it",
    "over-budget": "trainings of {concepts} wait for the budget: {cause}",
}
"""What happened, by event; braces name keys of the payload."""

PROBLEMS: frozenset[str] = frozenset(
    {"failed", "lost", "degraded", "waiting", "overdue", "interrupted", "host-lost", "over-budget"}
)
"""Events that `conceptry up --quiet` shows: a concept needs a user, or a run was lost."""


@dataclass(frozen=True)
class EventLine:
    """One event: a moment, the concept (empty: the installation), what happened, and an address or ""."""

    moment: datetime
    concept: str
    words: str
    address: str
    problem: bool

    def text(self) -> Text:
        """Return the line in the local time zone; problems are yellow."""
        line = Text(f"{self.moment.astimezone():%H:%M:%S}  ", style="dim")
        line.append(f"{self.concept:<16}  ", style="not dim bold")
        line.append(self.words, style="not dim yellow" if self.problem else "not dim")
        return line.append(f"  {self.address}") if self.address else line


def event_line(
    event: str, payload: Mapping[str, Any], moment: datetime, run_page: str | None = None
) -> EventLine | None:
    """Return the line of a Prefect event; None if the event is not about a concept or an installation.

    Args:
        event: Name of the event, such as `conceptry.concept.released`.
        payload: Its payload.
        moment: When it occurred, with a time zone.
        run_page: Address of the run that emitted it; the address of a training.
    """
    prefix, _, name = event.rpartition(".")
    words = next((text for known, text in WORDS.items() if known == name), None)
    if words is None or prefix not in (PREFIX, INSTALLATION_PREFIX):
        return None
    values = defaultdict(str, {key: _one_line(value) for key, value in payload.items()})
    said = words.format_map(values).removesuffix(": ")
    if name == "training" and payload.get("retrain"):
        said = f"retraining of {payload['retrain']} started"
    return EventLine(moment, values["concept"], said, _address(name, payload, run_page), name in PROBLEMS)


def _address(name: str, payload: Mapping[str, Any], run_page: str | None) -> str:
    """Return the page of what an event is about: a Space, a version, or the run of a training."""
    if space := payload.get("space"):
        return str(space)
    if model := payload.get("model"):
        return f"{model}/tree/{payload['version']}" if payload.get("version") else str(model)
    return run_page or "" if name == "training" else ""


def _one_line(value: Any) -> str:
    """Return a value of a payload without line breaks, lists with semicolons, shortened to LONGEST."""
    words = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
    text = " ".join(words.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
