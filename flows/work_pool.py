"""Work pools of an installation on a Prefect server: their base job templates.

A template is Prefect's own of the pool's type, merged with the differences in `work_pools/TYPE.yaml`, the image and the
settings of the installation. Secrets are no part of it: it names Prefect blocks, which are read when a run starts.
"""

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from string import Template
from typing import Any

import yaml
from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type
from pydantic import SecretStr

from conceptry.errors import SettingsError
from conceptry.installation import Installation
from conceptry.settings import PREFIX, Settings
from conceptry.vertex_settings import PREFIX as VERTEX_PREFIX
from flows.training_places import QUEUE
from tasks.git import is_local

PROCESS = "process"
FOLDER = Path(__file__).parent / "work_pools"
WORK = "/work"
"""Work folder in the image, see Dockerfile."""
_OF_THE_MACHINE = frozenset({"work", "base_dir"})
_BLOCK = "{{ prefect.blocks.secret.%s }}"


def pool_types() -> list[str]:
    """Return the types of work pools that there are templates for."""
    return [PROCESS, *sorted(path.stem for path in FOLDER.glob("*.yaml"))]


def pool_name(settings: Settings) -> str:
    """Return the name of the work pool of an installation."""
    return f"conceptry{settings.deployment_suffix}"


def base_job_template(
    installation: Installation, pool_type: str, image: str, credentials: str | None = None
) -> dict[str, Any]:
    """Return the base job template of a work pool.

    Args:
        installation: Installation, whose settings in the environment the runs get.
        pool_type: Type of the work pool, one of `pool_types`.
        image: Image of the flows.
        credentials: Id of the block GcpCredentials with which Cloud Run is called; None for the worker's own identity.

    Raises:
        SettingsError: Prefect does not know the type, or the repo is a folder of this machine.
    """
    template: dict[str, Any] | None = asyncio.run(get_default_base_job_template_for_infrastructure_type(pool_type))
    if template is None:
        raise SettingsError(
            f"Prefect has no base job template of the type {pool_type}", next_step=f"choose one of {pool_types()}"
        )
    if pool_type == PROCESS:
        return template
    settings = installation.settings
    if is_local(settings.repo):
        raise SettingsError(
            "CONCEPTRY_REPO is a folder of this machine, which a container does not see", next_step="set it to an URL"
        )
    text = (FOLDER / f"{pool_type}.yaml").read_text(encoding="utf-8")
    differences = yaml.safe_load(Template(text).substitute(pool=pool_name(settings)))
    variables = {"image": {"default": image}, "env": {"default": container_variables(settings)}}
    changed: dict[str, Any] = merged(merged(template, differences), {"variables": {"properties": variables}})
    if credentials is not None and "credentials" in changed["job_configuration"]:
        # Not as the variable's default: the server checks that with the block's secrets masked, and refuses it.
        changed["job_configuration"]["credentials"] = {"$ref": {"block_document_id": credentials}}
    return changed


def container_variables(settings: Settings) -> dict[str, str]:
    """Return the environment of a run in a container: the settings, and references to blocks in place of secrets."""
    found = {"CONCEPTRY_WORK": WORK, "PYTHONSAFEPATH": "1"}
    for name in sorted(settings.model_fields_set - _OF_THE_MACHINE):
        value, variable = getattr(settings, name), PREFIX + name.upper()
        if name == "hub_token":
            # Read by the flow itself, so that it is in no job's specification, and read again when it was renewed.
            found[f"{variable}_BLOCK"] = secret_block(settings, name)
        elif isinstance(value, SecretStr):
            found[variable] = _BLOCK % secret_block(settings, name)
        elif value is not None:
            found[variable] = str(value)
    vertex = {name: value for name, value in os.environ.items() if name.startswith(VERTEX_PREFIX)}
    vertex.pop(f"{VERTEX_PREFIX}PRICES", None)
    return found | vertex


def secret_block(settings: Settings, name: str) -> str:
    """Return the name of the Secret block of a setting."""
    return f"conceptry{settings.deployment_suffix}-{name.replace('_', '-')}"


def save_secrets(settings: Settings) -> list[str]:
    """Register a Secret block for each secret in the settings; return their names."""
    saved = []
    for name in sorted(settings.model_fields_set):
        if isinstance(value := getattr(settings, name), SecretStr):
            Secret(value=value).save(block := secret_block(settings, name), overwrite=True, _sync=True)  # type: ignore[call-arg]
            saved.append(block)
    return saved


def credentials_block(client: SyncPrefectClient, name: str) -> str | None:
    """Return the id of a registered block GcpCredentials; None if there is none of this name."""
    try:
        return str(client.read_block_document_by_name(name, "gcp-credentials", include_secrets=False).id)
    except ObjectNotFound:
        return None


def create_pool(name: str, pool_type: str, template: dict[str, Any], *, replace: bool = False) -> bool:
    """Create a work pool, or with `replace` give an existing one this template; return whether it is new.

    Raises:
        SettingsError: the pool exists, and `replace` is false or its type is another one.
    """
    with get_client(sync_client=True) as client:
        try:
            existing = client.read_work_pool(name)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=name, type=pool_type, base_job_template=template))
            return True
        if existing.type != pool_type:
            raise SettingsError(
                f"the work pool {name} has the type {existing.type}", next_step=f"`prefect work-pool delete {name}`"
            )
        if not replace:
            raise SettingsError(
                f"the work pool {name} exists",
                next_step="--replace gives it this template; manual changes to it are lost",
            )
        client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
    return False


def create_training_queue(pool: str, limit: int) -> None:
    """Create the work queue of trainings in a pool of containers, unless it exists.

    Args:
        pool: Name of the work pool.
        limit: Maximum of trainings at the same time, which users can change in Prefect.
    """
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_queue(QUEUE, concurrency_limit=limit, work_pool_name=pool)


def merged(base: Any, changes: Any) -> Any:
    """Return a JSON value with changes: objects by key, lists by position, everything else is replaced."""
    if isinstance(base, Mapping) and isinstance(changes, Mapping):
        return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}
    if isinstance(base, list) and isinstance(changes, list):
        return [one if change is None else merged(one, change) for one, change in zip_longest(base, changes)]
    return changes
