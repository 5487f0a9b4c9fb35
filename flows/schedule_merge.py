"""Three-way merge of schedules and pauses: what was deployed last, what prefect.yaml declares, what the server has.

Decided field by field (timing, active, parameters), so that a schedule that a user switched off still gets another
interval from prefect.yaml:

    server has what was deployed last    prefect.yaml unchanged    unchanged
    server has what was deployed last    prefect.yaml changed      update
    server has something else            either                    keep what the user set
    both say the same                    either                    unchanged
    it is not known what was deployed    they differ               keep, because a user may have set it

A schedule that a user added or deleted stays so. One that prefect.yaml no longer declares is deleted, unless a user
changed it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import SCHEDULE_TYPES, CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import BaseModel, ConfigDict, Field, field_validator

Verdict = Literal["unchanged", "update", "keep"]
FIELDS = ("timing", "active", "parameters")


class Timing(BaseModel):
    """When a schedule starts runs: an interval in seconds, a cron expression or a recurrence rule.

    `anchor` is a moment that an interval counts from; None in prefect.yaml for any.
    """

    model_config = ConfigDict(frozen=True)

    interval: float | None = None
    cron: str | None = None
    rrule: str | None = None
    timezone: str = "UTC"
    anchor: datetime | None = None
    day_or: bool = True

    @field_validator("anchor")
    @classmethod
    def _in_utc(cls, anchor: datetime | None) -> datetime | None:
        """Return the moment in UTC, in which one without a time zone is meant."""
        if anchor is None:
            return None
        return anchor.replace(tzinfo=UTC) if anchor.tzinfo is None else anchor.astimezone(UTC)

    @classmethod
    def of(cls, schedule: SCHEDULE_TYPES) -> Self:
        """Return the timing of a schedule of Prefect."""
        zone = getattr(schedule, "timezone", None) or "UTC"
        if isinstance(schedule, IntervalSchedule):
            return cls(interval=schedule.interval.total_seconds(), timezone=zone, anchor=schedule.anchor_date)
        if isinstance(schedule, CronSchedule):
            return cls(cron=schedule.cron, timezone=zone, day_or=schedule.day_or)
        return cls(rrule=getattr(schedule, "rrule", None), timezone=zone)

    def agrees(self, found: Timing) -> bool:
        """Whether a timing on the server is the one that this declares."""
        return self == (found if self.anchor is not None else found.model_copy(update={"anchor": None}))

    def schedule(self, anchor: datetime | None = None) -> SCHEDULE_TYPES:
        """Return it as a schedule of Prefect; `anchor` is used if it has none of its own."""
        if self.cron is not None:
            return CronSchedule(cron=self.cron, timezone=self.timezone, day_or=self.day_or)
        if self.rrule is not None:
            return RRuleSchedule(rrule=self.rrule, timezone=self.timezone)
        start = self.anchor or anchor
        values: dict[str, Any] = {} if start is None else {"anchor_date": start}
        return IntervalSchedule(interval=timedelta(seconds=self.interval or 0), timezone=self.timezone, **values)

    def __str__(self) -> str:
        if self.interval is not None:
            return f"every {self.interval:g} s"
        zone = "" if self.timezone == "UTC" else f" {self.timezone}"
        return f"cron {self.cron}{zone}" if self.cron is not None else f"rrule {self.rrule}{zone}"


class ScheduleFields(BaseModel):
    """Fields of a schedule that a deploy sets. In a record, None for one that no deploy has set."""

    model_config = ConfigDict(frozen=True)

    timing: Timing | None = None
    active: bool | None = None
    parameters: dict[str, Any] | None = None

    @classmethod
    def of(cls, schedule: DeploymentSchedule) -> Self:
        """Return the fields of a schedule on the server."""
        return cls(timing=Timing.of(schedule.schedule), active=schedule.active, parameters=schedule.parameters)

    def create(self, slug: str | None) -> DeploymentScheduleCreate:
        """Return the request that creates a schedule with these fields."""
        schedule = (self.timing or Timing()).schedule()
        active, parameters = self.active is not False, self.parameters or {}
        return DeploymentScheduleCreate(schedule=schedule, active=active, parameters=parameters, slug=slug)

    def words(self, name: str) -> str:
        """Return a field in words."""
        if name == "active":
            return "active" if self.active else "inactive"
        return str(self.timing) if name == "timing" else f"parameters {self.parameters}"


class LastSchedule(BaseModel):
    """Schedule as the last deploy left it: what prefect.yaml declared, and what the server made of it."""

    model_config = ConfigDict(frozen=True)

    declared: ScheduleFields = Field(default_factory=ScheduleFields)
    found: ScheduleFields = Field(default_factory=ScheduleFields)


@dataclass(frozen=True)
class ScheduleChange:
    """What a deploy does with one schedule.

    Attributes:
        slug: Its slug; None for one that a user added without a slug.
        kind: `create`, `delete`, or `merge` field by field; `leave` it to the user who added, changed or deleted it.
        declared: What prefect.yaml declares; None if it does not.
        found: Schedule on the server; None if there is none.
        fields: Verdict by field, for `merge`.
        changes: What is changed, in words.
        kept: Which choices of a user are kept, in words.
    """

    slug: str | None
    kind: Literal["create", "delete", "merge", "leave"]
    declared: ScheduleFields | None = None
    found: DeploymentSchedule | None = None
    fields: Mapping[str, Verdict] | None = None
    changes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def of(self, verdict: Verdict) -> tuple[str, ...]:
        """Return the fields with a verdict."""
        return tuple(name for name, each in (self.fields or {}).items() if each == verdict)


def merge_schedules(
    declared: Mapping[str, ScheduleFields],
    found: list[DeploymentSchedule],
    last: Mapping[str, LastSchedule],
    *,
    unknown: Verdict = "keep",
) -> tuple[ScheduleChange, ...]:
    """Return what a deploy does with each schedule of a deployment.

    Args:
        declared: Schedules of prefect.yaml by slug.
        found: Schedules on the server.
        last: Schedules as the last deploy left them, by slug.
        unknown: Verdict about a field that differs, if it is not known what was deployed.
    """
    there = {schedule.slug: schedule for schedule in found if schedule.slug}
    changes = [_declared_one(slug, each, there.get(slug), last.get(slug), unknown) for slug, each in declared.items()]
    return (*changes, *_undeclared(declared, found, last))


def _declared_one(
    slug: str, declared: ScheduleFields, found: DeploymentSchedule | None, last: LastSchedule | None, unknown: Verdict
) -> ScheduleChange:
    if found is None and last is not None:
        return ScheduleChange(slug, "leave", declared, kept=(f"schedule {slug} deleted",))
    if found is None:
        return ScheduleChange(slug, "create", declared, changes=(f"schedule {slug} ({declared.timing})",))
    now, before = ScheduleFields.of(found), last or LastSchedule()
    verdicts = {name: _field(name, declared, now, before, unknown) for name in FIELDS}
    changes, kept = [], []
    for name, verdict in verdicts.items():
        if verdict == "update":
            changes.append(f"schedule {slug} ({now.words(name)} -> {declared.words(name)})")
        elif verdict == "keep":
            kept.append(f"schedule {slug} {now.words(name)} (prefect.yaml: {declared.words(name)})")
    return ScheduleChange(slug, "merge", declared, found, verdicts, tuple(changes), tuple(kept))


def _field(name: str, declared: ScheduleFields, now: ScheduleFields, last: LastSchedule, unknown: Verdict) -> Verdict:
    wanted, there, before = (getattr(each, name) for each in (declared, now, last.found))
    if wanted.agrees(there) if isinstance(wanted, Timing) else wanted == there:
        return "unchanged"
    if before is None:
        return unknown
    if there != before:
        return "keep"
    return "unchanged" if getattr(last.declared, name) == wanted else "update"


def _undeclared(
    declared: Mapping[str, ScheduleFields], found: list[DeploymentSchedule], last: Mapping[str, LastSchedule]
) -> Iterator[ScheduleChange]:
    for schedule in found:
        if schedule.slug in declared:
            continue
        before, now = last.get(schedule.slug or ""), ScheduleFields.of(schedule)
        title = f"schedule {schedule.slug}" if schedule.slug else "schedule"
        if before is not None and before.found == now:
            yield ScheduleChange(schedule.slug, "delete", None, schedule, changes=(f"{title} ({now.timing}) removed",))
            continue
        how = "added by a user" if before is None else "changed by a user, prefect.yaml has no such schedule"
        words = f"{title} {now.timing}, {now.words('active')} ({how})"
        yield ScheduleChange(schedule.slug, "leave", None, schedule, kept=(words,))


def merge_paused(declared: bool, found: bool | None, last: bool | None, *, unknown: Verdict = "keep") -> bool:
    """Return whether a deployment is paused after a deploy.

    Args:
        declared: As prefect.yaml says.
        found: As on the server; None if the deployment does not exist.
        last: As the last deploy left it; None if that is not known.
        unknown: Verdict if it is not known, and they differ.
    """
    if found is None or (last is None and unknown == "update"):
        return declared
    return found if last is None or found != last else declared


def remembered(change: ScheduleChange, last: LastSchedule | None, now: ScheduleFields | None) -> LastSchedule | None:
    """Return what is recorded of a schedule after a deploy, so that a kept field stays known as the user's.

    Args:
        change: What the deploy did with it.
        last: What the deploy before left.
        now: What the server has now.
    """
    if change.kind == "delete" or change.declared is None:
        return last if change.kind == "leave" else None
    if change.kind == "leave" or now is None:
        return last
    kept = change.of("keep")
    before = last or LastSchedule()
    return LastSchedule(
        declared=ScheduleFields(
            **{name: getattr(before.declared if name in kept else change.declared, name) for name in FIELDS}
        ),
        found=ScheduleFields(**{name: getattr(before.found if name in kept else now, name) for name in FIELDS}),
    )
