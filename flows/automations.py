"""Automations of an installation on its Prefect server: what people are told of, and what they can do.

They listen to the events of tasks/events.py about this installation alone. With CONCEPTRY_NOTIFICATION_BLOCK they send
to that block; without it they do nothing, and show as `prefect.automation.triggered` in the event feed. One that a user
switched off stays so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import DoNothing, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from conceptry.errors import SettingsError
from tasks.events import INSTALLATION_PREFIX, PREFIX, EventName, InstallationEventName


@dataclass(frozen=True)
class Notice:
    """What people are told of.

    Attributes:
        title: Name of the automation, without that of the installation.
        event: Event about a concept, or about the installation.
        sentence: What happened.
        step: What to do.
    """

    title: str
    event: EventName | InstallationEventName
    sentence: str
    step: str


NOTICES = (
    Notice(
        "training failed",
        "failed",
        "The training failed.",
        "Look at its run in Prefect; correct the images or concept.yaml and push, or `conceptry train NAME`.",
    ),
    Notice(
        "version rejected",
        "rejected",
        "The new version did not pass its gate; the Space keeps what it serves.",
        "See its card on the Hub; add or replace images, or change `training` or `gate` in concept.yaml.",
    ),
    Notice(
        "version undecided",
        "undecided",
        "The gate could not decide about the new version; the Space keeps what it serves.",
        "Look at its samples; set `release` in concept.yaml to serve it, or add images.",
    ),
    Notice(
        "waits for data",
        "overdue",
        "Its images have been missing in the DVC remote for more than a day.",
        "Run `dvc push` where the images are.",
    ),
    Notice(
        "host lost",
        "host-lost",
        "The machine of its training gives no sign of life; the training goes on at the next worker.",
        "Start the worker of that machine again.",
    ),
    Notice(
        "cost over budget",
        "over-budget",
        "Trainings wait, because this month's budget is spent or does not suffice.",
        "Raise `budget` in conceptry.yaml, or wait for the next month; `conceptry status` shows what was spent.",
    ),
    Notice(
        "drift repaired",
        "repaired",
        "A manual change on the Hub was undone.",
        "Change the concept in git instead.",
    ),
)
CAUSE = "{% set cause = event.payload.cause %}{{ cause if cause is string else cause | join('; ') }}"


@dataclass(frozen=True)
class AutomationChange:
    """What a deploy does with one automation.

    Attributes:
        name: Its name.
        wanted: The automation as it is declared; None if it no longer is.
        found: The one on the server; None if there is none.
        fields: What differs between the two.
    """

    name: str
    wanted: AutomationCore | None
    found: Automation | None
    fields: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether a deploy creates or updates it."""
        return self.wanted is not None and (self.found is None or bool(self.fields))

    def __str__(self) -> str:
        if self.wanted is None:
            return f"automation {self.name!r}: no longer declared"
        if self.found is None:
            return f"automation {self.name!r}: created"
        what = f"changed: {', '.join(self.fields)}" if self.fields else "unchanged"
        kept = "" if self.found.enabled else "; kept as set by users: switched off"
        return f"automation {self.name!r}: {what}{kept}"


def notification_block(client: SyncPrefectClient, name: str | None) -> UUID | None:
    """Return the id of the notification block that CONCEPTRY_NOTIFICATION_BLOCK names; None without a name.

    Raises:
        SettingsError: the block does not exist, or sends no notifications.
    """
    if name is None:
        return None
    kind, _, block = name.partition("/")
    try:
        found = client.read_block_document_by_name(block, kind, include_secrets=False)
    except ObjectNotFound:
        raise SettingsError(
            f"there is no block {name} on the Prefect server",
            next_step="create it in Prefect's UI under Blocks, or correct CONCEPTRY_NOTIFICATION_BLOCK (TYPE/NAME)",
        ) from None
    if found.block_schema is None or "notify" not in found.block_schema.capabilities:
        step = "set CONCEPTRY_NOTIFICATION_BLOCK to one that does, for example slack-webhook/NAME"
        raise SettingsError(f"the block {name} sends no notifications", next_step=step)
    return found.id


def declared_automations(installation: str, suffix: str, block: UUID | None) -> tuple[AutomationCore, ...]:
    """Return the automations of an installation.

    Args:
        installation: Id of the installation.
        suffix: Suffix of its names.
        block: Notification block; None if they only show in the event feed.
    """
    return tuple(_automation(notice, installation, suffix, block) for notice in NOTICES)


def _automation(notice: Notice, installation: str, suffix: str, block: UUID | None) -> AutomationCore:
    owner = f"{INSTALLATION_PREFIX}.{installation}"
    prefix = INSTALLATION_PREFIX if notice.event == "over-budget" else PREFIX
    trigger = EventTrigger(
        match=ResourceSpecification.model_validate({"prefect.resource.id": f"{prefix}.*"}),
        match_related=ResourceSpecification.model_validate(
            {"prefect.resource.id": owner, "prefect.resource.role": "installation"}
        ),
        expect={f"{prefix}.{notice.event}"},
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
    action = DoNothing() if block is None else _notification(notice, installation, block)
    return AutomationCore(
        name=f"conceptry{suffix}: {notice.title}",
        description=f"{notice.sentence} {notice.step}",
        trigger=trigger,
        actions=[action],
        owner_resource=owner,
    )


def _notification(notice: Notice, installation: str, block: UUID) -> SendNotification:
    lines = [f"{{{{ event.resource.name }}}}: {notice.sentence}", CAUSE, notice.step, f"Installation: {installation}"]
    subject = f"Conceptry: {{{{ event.resource.name }}}}: {notice.title}"
    return SendNotification(block_document_id=block, subject=subject, body="\n\n".join(lines))


def compare_automations(
    client: SyncPrefectClient, declared: Sequence[AutomationCore], installation: str
) -> tuple[AutomationChange, ...]:
    """Return what a deploy does with each automation of an installation; nothing is changed."""
    found = {
        each.name: each for each in client.read_resource_related_automations(f"{INSTALLATION_PREFIX}.{installation}")
    }
    names = {one.name for one in declared}
    changes = [_compare(one, found.get(one.name)) for one in declared]
    return (*changes, *(AutomationChange(name, None, each) for name, each in found.items() if name not in names))


def _compare(wanted: AutomationCore, found: Automation | None) -> AutomationChange:
    if found is None:
        return AutomationChange(wanted.name, wanted, None)
    return AutomationChange(wanted.name, wanted, found, differing(wanted, found))


def differing(wanted: AutomationCore, found: AutomationCore) -> tuple[str, ...]:
    """Return what differs between two automations, apart from their names and whether they are switched on."""
    fields = ("description", "trigger", "actions")
    return tuple(name for name in fields if _dump(getattr(wanted, name)) != _dump(getattr(found, name)))


def _dump(part: Any) -> Any:
    if isinstance(part, list):
        return [_dump(one) for one in part]
    return part.model_dump(mode="json", exclude={"id"}) if hasattr(part, "model_dump") else part


def deploy_automation(client: SyncPrefectClient, change: AutomationChange) -> None:
    """Create or update an automation; one that a user switched off stays so."""
    if change.wanted is None:
        return
    if change.found is None:
        client.create_automation(change.wanted)
    elif change.fields:
        # The client sends the fields that are set, so all are; the server refuses an owner in an update.
        values = change.wanted.model_dump(exclude={"owner_resource"}) | {"enabled": change.found.enabled}
        client.update_automation(change.found.id, AutomationCore(**values))
