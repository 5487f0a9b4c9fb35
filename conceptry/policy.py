"""Policy of the registry: conceptry.yaml at the top of the repository, an optional file.

concept.yaml holds what applies to one concept; settings hold what applies to one installation (addresses, secrets,
capacity). The policy applies to all concepts and is reviewed in git like them.
"""

import re
from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from conceptry.yaml_spec import validate_yaml

PATH = "conceptry.yaml"
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _clock(text: str) -> str:
    if not re.fullmatch(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError(f"{text!r} is not a time of day; write it in quotes, for example '20:00'")
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(f"{name!r} is not a time zone, for example Europe/Berlin") from None
    return name


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Window(_Section):
    """Weekly time window in which trainings may start; it may extend over midnight."""

    days: list[Day] = Field(list(_DAYS), description="Days on which it opens.", min_length=1)
    start: Annotated[str, AfterValidator(_clock)] = Field("00:00", description="When it opens, for example '20:00'.")
    end: Annotated[str, AfterValidator(_clock)] = Field("00:00", description="When it closes; may be the next day.")
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        "UTC", description="Time zone of start and end, for example Europe/Berlin."
    )

    def is_open(self, now: datetime) -> bool:
        """Whether the window is open at a moment."""
        return any(opens <= now < closes for opens, closes in self._spans(now))

    def opens(self, now: datetime) -> datetime:
        """Return the next moment at which the window opens."""
        return min(opens for opens, _ in self._spans(now) if opens > now)

    def _spans(self, now: datetime) -> list[tuple[datetime, datetime]]:
        """Return the openings from one day before `now` to eight days after it: one contains `now`, or is the next."""
        zone = ZoneInfo(self.timezone)
        today = now.astimezone(zone).date()
        start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        spans = []
        for offset in range(-1, 9):
            day = today + timedelta(days=offset)
            if _DAYS[day.weekday()] in self.days:
                last = day if end > start else day + timedelta(days=1)
                spans.append((datetime.combine(day, start, zone), datetime.combine(last, end, zone)))
        return spans


class Keep(_Section):
    """Versions that `conceptry gc` keeps, besides released ones."""

    last: int = Field(3, ge=1, le=1000, description="The newest versions of each concept.")
    days: int = Field(90, ge=0, le=36500, description="Versions whose inputs were in git within so many days.")


class Guards(_Section):
    """How many concepts a plan may archive or release otherwise without a person's yes."""

    share: float = Field(0.2, ge=0, le=1, description="Share of all concepts; 1 switches the guard off.")
    at_least: int = Field(3, ge=0, le=100_000, description="So many are always allowed.")


class Budget(_Section):
    """Limits on the trainings of a calendar month in UTC; one that is left out is unlimited."""

    runs: int | None = Field(None, ge=1, description="Trainings a month.")
    gpu_hours: float | None = Field(None, gt=0, description="Hours of accelerators a month.")
    usd: float | None = Field(None, gt=0, description="US dollars a month, by the estimate of the plan.")


class Policy(_Section):
    """conceptry.yaml."""

    suspend: bool = Field(False, description="Start no training; releases and rollbacks proceed.")
    windows: list[Window] = Field([], description="When trainings may start; at any time when left out.")
    canary: str | None = Field(
        None,
        description="Concept to train first when RECIPE or a base model changes many, and whose Space gets new "
        "templates first; null takes the first.",
    )
    max_failures: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Stop such a rollout when more than this share of its trainings, or Spaces, failed.",
    )
    budget: Budget = Field(
        Budget(),
        description="What trainings may cost a month. Retrainings and rollouts wait when it does not suffice for them, "
        "trainings of edited concepts when it is used up.",
    )
    keep: Keep = Field(Keep(), description="What `conceptry gc` keeps.")
    guards: Guards = Field(
        Guards(),
        description="How many concepts may be archived or released otherwise at once without `conceptry apply`.",
    )


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema of conceptry.yaml, committed as docs/conceptry.schema.json for editors."""
    schema = Policy.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "conceptry.yaml"}


def load_policy(text: str | None) -> Policy:
    """Parse and validate conceptry.yaml; without the file, return the defaults.

    Raises:
        SpecError: the file has mistakes; all of them are listed.
    """
    return Policy() if text is None else validate_yaml(Policy, text, PATH)
