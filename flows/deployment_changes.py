"""Difference between prefect.yaml and the deployments on a Prefect server, merged with what users set there.

Prefect's own deploy resumes a paused deployment, sets the timing of every schedule that has a slug, replaces all
schedules if one of them has none, as those that are added in the UI, and enables triggers that were switched off. So
a deployment is registered with what users set and, if it exists, without schedules, which `settle` updates one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.schemas.automations import Automation
from prefect.exceptions import ObjectNotFound

from conceptry.errors import SettingsError
from flows.automations import differing
from flows.declared_deployments import DeclaredDeployment
from flows.deployment_record import LastDeployment, Record, read_record, write_record
from flows.deployments import installation_tag
from flows.schedule_merge import (
    LastSchedule,
    ScheduleChange,
    ScheduleFields,
    Verdict,
    merge_paused,
    merge_schedules,
    remembered,
)
from flows.training_places import OTHERS

PAGE = 200
DROPPED = {"watch": frozenset({"interval"})}
"""Slugs of schedules that releases declared which kept no record, and that prefect.yaml no longer has; by flow."""


@dataclass(frozen=True)
class DeploymentChange:
    """What a deploy does with one deployment of prefect.yaml.

    Attributes:
        declared: The deployment as prefect.yaml declares it.
        found: The deployment on the server; None if there is none.
        fields: What differs between the two, apart from schedules.
        paused: Whether it is paused afterwards.
        schedules: What is done with its schedules.
        triggers_off: Names of triggers that a user switched off, and that stay so.
        last: The deployment as the last deploy left it.
    """

    declared: DeclaredDeployment
    found: DeploymentResponse | None
    fields: tuple[str, ...] = ()
    paused: bool = False
    schedules: tuple[ScheduleChange, ...] = ()
    triggers_off: frozenset[str] = frozenset()
    last: LastDeployment = field(default_factory=LastDeployment)

    @property
    def changes(self) -> tuple[str, ...]:
        """What is changed, in words."""
        return (*self.fields, *(words for schedule in self.schedules for words in schedule.changes))

    @property
    def kept(self) -> tuple[str, ...]:
        """What is kept as users set it, in words."""
        paused = self.found is not None and self.found.paused == self.paused != self.declared.paused
        return (
            *((("paused" if self.paused else "not paused"),) if paused else ()),
            *(words for schedule in self.schedules for words in schedule.kept),
            *(f"trigger {name!r} switched off" for name in sorted(self.triggers_off)),
        )

    def __str__(self) -> str:
        if self.found is None:
            what = "created"
        else:
            what = f"changed: {', '.join(self.changes)}" if self.changes else "unchanged"
        kept = f"; kept as set by users: {', '.join(self.kept)}" if self.kept else ""
        return f"{self.declared.full_name}: {what}{kept}"


def compare_deployments(
    client: SyncPrefectClient, declared: Sequence[DeclaredDeployment], suffix: str, *, unknown: Verdict = "keep"
) -> tuple[DeploymentChange, ...]:
    """Return what a deploy does with each deployment of prefect.yaml; nothing is changed.

    Args:
        client: Client of the Prefect server.
        declared: Deployments of prefect.yaml.
        suffix: Suffix of the installation.
        unknown: Verdict about a pause or a schedule that differs, if it is not known what was deployed.
    """
    record = read_record(client, suffix)
    return tuple(_compare(client, one, record.get(one.full_name), unknown) for one in declared)


def _compare(
    client: SyncPrefectClient, declared: DeclaredDeployment, recorded: LastDeployment | None, unknown: Verdict
) -> DeploymentChange:
    try:
        found = client.read_deployment_by_name(declared.full_name)
    except ObjectNotFound:
        # It is created with its schedules.
        created = merge_schedules(declared.schedules, [], {})
        return DeploymentChange(declared, None, paused=declared.paused, schedules=created)
    last = recorded or _before_records(declared, found)
    automations = _automations(client, found.id)
    paused = merge_paused(declared.paused, found.paused, last.paused, unknown=unknown)
    resumed = ("paused" if paused else "not paused",) if paused != found.paused else ()
    trigger_fields = ("triggers",) if _other_triggers(declared, found.id, automations, last) else ()
    off = {trigger["name"] for trigger in declared.triggers if trigger.get("enabled", True)}
    return DeploymentChange(
        declared,
        found,
        (*_other_fields(declared, found), *trigger_fields, *resumed),
        paused,
        merge_schedules(declared.schedules, found.schedules, last.schedules, unknown=unknown),
        frozenset(name for name in off if name in automations and not automations[name].enabled),
        last,
    )


def _before_records(declared: DeclaredDeployment, found: DeploymentResponse) -> LastDeployment:
    """Return how a release that kept no record left a deployment: the schedules that it declared are not a user's."""
    old = [each for each in found.schedules if each.slug in DROPPED.get(declared.flow, ())]
    return LastDeployment(schedules={str(each.slug): LastSchedule(found=ScheduleFields.of(each)) for each in old})


def _other_fields(declared: DeclaredDeployment, found: DeploymentResponse) -> Iterator[str]:
    pairs: dict[str, tuple[Any, Any]] = {
        "tags": (sorted(declared.tags), sorted(found.tags)),
        "parameters": (dict(declared.parameters), found.parameters or {}),
        "work pool": ((declared.pool, dict(declared.job_variables)), (found.work_pool_name, found.job_variables or {})),
        "work queue": (declared.pool and (declared.queue or OTHERS), found.work_queue_name),
        "entrypoint": (declared.entrypoint, found.entrypoint),
    }
    if declared.description is not None:
        pairs = {"description": (declared.description, found.description), **pairs}
    if declared.pull is not None:
        pairs["pull steps"] = ([dict(step) for step in declared.pull], found.pull_steps or [])
    for name, (wanted, there) in pairs.items():
        if wanted != there:
            yield name


def _automations(client: SyncPrefectClient, deployment: UUID) -> dict[str, Automation]:
    """Return the automations that start runs of a deployment, by name."""
    return {each.name: each for each in client.read_resource_related_automations(f"prefect.deployment.{deployment}")}


def _other_triggers(
    declared: DeclaredDeployment, deployment: UUID, found: dict[str, Automation], last: LastDeployment
) -> bool:
    names = set()
    for trigger in declared.trigger_models():
        trigger.set_deployment_id(deployment)
        wanted = trigger.as_automation()
        names.add(wanted.name)
        there = found.get(wanted.name)
        if there is None or differing(wanted, there):
            return True
    return any(name in found for name in set(last.triggers) - names)


def settle(client: SyncPrefectClient, changes: Sequence[DeploymentChange], suffix: str) -> None:
    """Update the schedules of deployments that were deployed, and record how they were left.

    Args:
        client: Client of the Prefect server.
        changes: What `compare_deployments` returned before the deploy.
        suffix: Suffix of the installation.
    """
    record: Record = {}
    for change in changes:
        deployment = client.read_deployment_by_name(change.declared.full_name)
        if change.found is not None:
            for schedule in change.schedules:
                _carry_out(client, deployment.id, schedule)
        record[change.declared.full_name] = _left(client, deployment.id, change)
    write_record(client, suffix, record)


def _carry_out(client: SyncPrefectClient, deployment: UUID, change: ScheduleChange) -> None:
    declared, found = change.declared, change.found
    if change.kind == "delete" and found is not None:
        client.delete_deployment_schedule(deployment, found.id)
    elif change.kind == "create" and declared is not None:
        client.create_deployment_schedules(deployment, [declared.create(change.slug)])
    elif change.of("update") and declared is not None and found is not None:
        updates = {name: getattr(declared, name) for name in change.of("update")}
        if (timing := updates.pop("timing", None)) is not None:
            updates["schedule"] = timing.schedule(getattr(found.schedule, "anchor_date", None))
        client.update_deployment_schedule(deployment, found.id, **updates)


def _left(client: SyncPrefectClient, deployment: UUID, change: DeploymentChange) -> LastDeployment:
    now = {each.slug: ScheduleFields.of(each) for each in client.read_deployment_schedules(deployment) if each.slug}
    schedules = {}
    for schedule in change.schedules:
        slug = schedule.slug or ""
        left = remembered(schedule, change.last.schedules.get(slug), now.get(slug))
        if slug and left is not None:
            schedules[slug] = left
    kept = change.found is not None and change.paused == change.found.paused != change.declared.paused
    triggers = tuple(str(trigger["name"]) for trigger in change.declared.triggers)
    paused = change.last.paused if kept else change.declared.paused
    return LastDeployment(paused=paused, schedules=schedules, triggers=triggers)


def check_work_pools(client: SyncPrefectClient, declared: Sequence[DeclaredDeployment]) -> None:
    """Check that the work pools of deployments exist.

    Raises:
        SettingsError: one does not.
    """
    for pool in sorted({one.pool for one in declared if one.pool}):
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            step = f"create it with `prefect work-pool create {pool} --type process`, and deploy again"
            raise SettingsError(f"there is no work pool {pool} on the Prefect server", next_step=step) from None


def removed_deployments(
    client: SyncPrefectClient, declared: Sequence[DeclaredDeployment], installation: str
) -> dict[str, UUID]:
    """Return the deployments with the tag of an installation that prefect.yaml does not declare, by full name."""
    tags = DeploymentFilter(tags=DeploymentFilterTags(all_=[installation_tag(installation)]))
    found: list[DeploymentResponse] = []
    while True:
        page = client.read_deployments(deployment_filter=tags, limit=PAGE, offset=len(found))
        found += page
        if len(page) < PAGE:
            break
    names = {one.full_name for one in declared}
    by_name = {f"{client.read_flow(one.flow_id).name}/{one.name}": one.id for one in found}
    return {name: each for name, each in sorted(by_name.items()) if name not in names}


def prune(client: SyncPrefectClient, deployment: UUID) -> None:
    """Delete a deployment with the automations that it owns; Prefect deletes its schedules and scheduled runs."""
    client.delete_resource_owned_automations(f"prefect.deployment.{deployment}")
    client.delete_deployment(deployment)
