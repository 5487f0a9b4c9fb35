"""Deployments that prefect.yaml declares, under the names and with the tags of an installation."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.events import DeploymentTriggerTypes
from prefect.utilities.templating import apply_values
from pydantic import TypeAdapter

from conceptry.errors import SettingsError
from flows.schedule_merge import ScheduleFields, Timing

FILE = Path(__file__).with_name("prefect.yaml")
"""The declarations, beside the flows in a wheel; the checkout has a link to them where `prefect deploy` looks."""
_TRIGGER: TypeAdapter[Any] = TypeAdapter(DeploymentTriggerTypes)


@dataclass(frozen=True)
class DeclaredDeployment:
    """One deployment of prefect.yaml.

    Attributes:
        flow: Name of its flow, which is its name without the suffix of the installation.
        name: Its name with the suffix.
        entrypoint: Dotted name of the flow's function.
        description: What it does; None for the flow's own description.
        tags: Tags, with the one of the installation.
        parameters: Parameters of its runs.
        paused: Whether it is created paused.
        pool: Name of the work pool, with the suffix; None without one.
        queue: Name of the work queue in it; None for its default queue.
        job_variables: Variables for the work pool.
        pull: Steps by which a worker gets the code, with their placeholders; None if Prefect chooses them.
        schedules: By slug.
        triggers: Content of `triggers`, each with a name.
    """

    flow: str
    name: str
    entrypoint: str
    description: str | None = None
    tags: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    paused: bool = False
    pool: str | None = None
    queue: str | None = None
    job_variables: Mapping[str, Any] = field(default_factory=dict)
    pull: tuple[Mapping[str, Any], ...] | None = None
    schedules: Mapping[str, ScheduleFields] = field(default_factory=dict)
    triggers: tuple[Mapping[str, Any], ...] = ()

    @property
    def full_name(self) -> str:
        """Name that commands take: `FLOW/NAME`."""
        return f"{self.flow}/{self.name}"

    def trigger_models(self, off: Collection[str] = ()) -> list[Any]:
        """Return the triggers as Prefect's models, those with the names in `off` not enabled."""
        return [
            _TRIGGER.validate_python({**trigger, "enabled": False} if trigger["name"] in off else dict(trigger))
            for trigger in self.triggers
        ]


def read_declared(suffix: str, tags: list[str]) -> tuple[DeclaredDeployment, ...]:
    """Return the deployments of prefect.yaml.

    Args:
        suffix: Suffix of the names of deployments and work pools.
        tags: Tags that the file's step `installation` returns.

    Raises:
        SettingsError: a schedule has no slug, by which it is found again, or a trigger has no name.
    """
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    outputs = {"installation": {"tags": tags}}
    return tuple(_declared(_filled(one, outputs), content.get("pull"), suffix) for one in content["deployments"])


def _filled(one: dict[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deployment with its placeholders replaced, as `prefect deploy` does; triggers keep theirs."""
    filled: Any = {key: value for key, value in one.items() if key != "triggers"}
    filled = apply_values(apply_values(filled, dict(os.environ), remove_notset=False), dict(outputs))
    return {**filled, "triggers": one.get("triggers", [])}


def _declared(one: Mapping[str, Any], pull: list[dict[str, Any]] | None, suffix: str) -> DeclaredDeployment:
    name, pool = str(one["name"]), one.get("work_pool") or {}
    schedules, triggers = one.get("schedules") or (), tuple(one["triggers"])
    unnamed = [what for what, key, each in (("schedule", "slug", schedules), ("trigger", "name", triggers))
               if any(key not in entry for entry in each)]  # fmt: skip
    if unnamed:
        step = f"give it a `{'slug' if unnamed[0] == 'schedule' else 'name'}`, by which later deploys find it again"
        raise SettingsError(
            f"a {unnamed[0]} of the deployment {name} in prefect.yaml cannot be told apart", next_step=step
        )
    steps = one.get("pull", pull)
    return DeclaredDeployment(
        flow=name,
        name=name + suffix,
        entrypoint=str(one["entrypoint"]),
        description=one.get("description"),
        tags=tuple(one.get("tags") or ()),
        parameters=one.get("parameters") or {},
        paused=bool(one.get("paused", False)),
        pool=str(pool["name"]) + suffix if pool.get("name") else None,
        queue=pool.get("work_queue_name"),
        job_variables=pool.get("job_variables") or {},
        pull=None if steps is None else tuple(steps),
        schedules={str(schedule["slug"]): _fields(schedule) for schedule in schedules},
        triggers=triggers,
    )


def _fields(schedule: Mapping[str, Any]) -> ScheduleFields:
    interval = schedule.get("interval")
    timing = Timing(
        interval=interval.total_seconds() if isinstance(interval, timedelta) else interval,
        cron=schedule.get("cron"),
        rrule=schedule.get("rrule"),
        timezone=schedule.get("timezone") or "UTC",
        anchor=schedule.get("anchor_date"),
        day_or=schedule.get("day_or", True),
    )
    return ScheduleFields(
        timing=timing, active=schedule.get("active", True), parameters=schedule.get("parameters") or {}
    )
