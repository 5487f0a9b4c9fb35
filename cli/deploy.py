"""`conceptry deploy`: register the deployments of prefect.yaml under the names of this installation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import typer
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import get_current_settings

from cli.exit_codes import DEPLOY_CHANGES, DEPLOY_DONE
from conceptry.errors import SettingsError
from conceptry.settings import Settings
from flows.automations import (
    AutomationChange,
    compare_automations,
    declared_automations,
    deploy_automation,
    notification_block,
)
from flows.declared_deployments import read_declared
from flows.deployment_changes import (
    DeploymentChange,
    check_work_pools,
    compare_deployments,
    prune,
    removed_deployments,
    settle,
)
from flows.deployment_registration import register
from flows.deployments import checked_tags
from local.console import err, out
from local.prefect_settings import prefect_for_people
from tasks.prefect_client import connected

KEPT = "`conceptry deploy --prune` deletes it"


def command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change, and change nothing.")] = False,
    prune_removed: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Delete deployments of this installation that prefect.yaml no longer declares, and their automations.",
        ),
    ] = False,
) -> None:
    """Register the flows on the Prefect server of PREFECT_API_URL, as prefect.yaml declares them.

    Prints a line for each deployment and automation. What users set stays: a pause, a schedule that they changed,
    switched off, added or deleted, a trigger that they switched off. What was deployed last is recorded in the variable
    `conceptry-deployed` of the server: where a schedule is still as it was deployed, it follows prefect.yaml.

    Creates the automations of the installation, too, which tell of trainings that failed, versions that did not pass,
    long waits, lost hosts, the budget and repaired drift: to the block that CONCEPTRY_NOTIFICATION_BLOCK names, else in
    the event feed. One that a user switched off stays so.

    With CONCEPTRY_DEPLOYMENT_SUFFIX=-second it registers `watch/watch-second` and so on, for the work pool
    `conceptry-second`; the worker of that pool needs the same settings. Deployments of another installation are not
    replaced.

    Exit code: 0 done; with --dry-run 0 if nothing would change, 2 if something would.
    """
    if not get_current_settings().api.url:
        raise SettingsError("no Prefect server is configured", next_step="set PREFECT_API_URL")
    with prefect_for_people():
        _deploy(Settings(), dry_run=dry_run, prune_removed=prune_removed)


def _deploy(settings: Settings, *, dry_run: bool, prune_removed: bool) -> None:
    suffix = settings.deployment_suffix
    declared = read_declared(suffix, checked_tags(suffix))
    mine = settings.installation_id
    with connected() as client:
        check_work_pools(client, declared)
        automations = declared_automations(mine, suffix, notification_block(client, settings.notification_block))
        found = Changes(
            compare_deployments(client, declared, suffix),
            compare_automations(client, automations, mine),
            removed_deployments(client, declared, mine),
        )
        if dry_run:
            _print(found.lines("to be deleted" if prune_removed else KEPT))
            raise typer.Exit(DEPLOY_CHANGES if found.any(prune_removed) else DEPLOY_DONE)
        with err().status("Deploying..."):
            for deployment in found.deployments:
                register(client, deployment)
            settle(client, found.deployments, suffix)
        for automation in found.automations:
            deploy_automation(client, automation)
        if prune_removed:
            _prune(client, found)
    _print(found.lines("deleted" if prune_removed else KEPT))


@dataclass(frozen=True)
class Changes:
    """What a deploy does; `removed` are deployments that prefect.yaml no longer declares."""

    deployments: tuple[DeploymentChange, ...]
    automations: tuple[AutomationChange, ...]
    removed: Mapping[str, UUID]

    def any(self, prune_removed: bool) -> bool:
        """Whether something changes."""
        undeclared = bool(self.removed) or any(one.wanted is None for one in self.automations)
        return (
            any(one.found is None or one.changes for one in self.deployments)
            or any(one.changes for one in self.automations)
            or (prune_removed and undeclared)
        )

    def lines(self, removed: str) -> list[str]:
        """Return a line for each deployment and automation; `removed` says what happens to those not declared."""
        return [
            *map(str, self.deployments),
            *(f"{name}: no longer in prefect.yaml: {removed}, with its automations" for name in self.removed),
            *(f"{one}: {removed}" if one.wanted is None else str(one) for one in self.automations),
        ]


def _prune(client: SyncPrefectClient, found: Changes) -> None:
    for deployment in found.removed.values():
        prune(client, deployment)
    for automation in found.automations:
        if automation.wanted is None and automation.found is not None:
            client.delete_automation(automation.found.id)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        out().print(line, markup=False, soft_wrap=True)
