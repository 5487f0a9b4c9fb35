"""Registration of a deployment on a Prefect server, with a work pool and with what users set.

`prefect deploy` does the same for a project without users' changes: it resumes a paused deployment, and replaces its
schedules.
"""

from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from flows.declared_deployments import DeclaredDeployment
from flows.deployment_changes import DeploymentChange


def register(client: SyncPrefectClient, change: DeploymentChange) -> None:
    """Create or update a deployment and its triggers; schedules of one that exists are left to `settle`."""
    declared, fields = change.declared, _fields(change)
    if change.found is None:
        schedules = [each.create(slug) for slug, each in declared.schedules.items()]
        flow = client.create_flow_from_name(declared.flow)
        deployment = client.create_deployment(flow, declared.name, schedules=schedules, **fields)
    else:
        deployment = change.found.id
        client.update_deployment(deployment, DeploymentUpdate(**fields))
    if change.found is None or "triggers" in change.fields:
        _replace_triggers(client, deployment, declared, change.triggers_off)


def _fields(change: DeploymentChange) -> dict[str, Any]:
    declared = change.declared
    flow: Any = load_flow_from_entrypoint(declared.entrypoint)
    return {
        "entrypoint": declared.entrypoint,
        "description": declared.description or flow.description,
        "tags": list(declared.tags),
        "parameters": dict(declared.parameters),
        "parameter_openapi_schema": parameter_schema(flow).model_dump(exclude_unset=True),
        "enforce_parameter_schema": True,
        "paused": change.paused,
        "work_pool_name": declared.pool,
        "work_queue_name": declared.queue,
        "job_variables": dict(declared.job_variables),
        "pull_steps": None if declared.pull is None else [dict(step) for step in declared.pull],
    }


def _replace_triggers(
    client: SyncPrefectClient, deployment: UUID, declared: DeclaredDeployment, off: frozenset[str]
) -> None:
    client.delete_resource_owned_automations(f"prefect.deployment.{deployment}")
    for trigger in declared.trigger_models(off):
        trigger.set_deployment_id(deployment)
        client.create_automation(trigger.as_automation())
