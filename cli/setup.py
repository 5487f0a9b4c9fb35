"""`conceptry setup gcp`: register the blocks that trainings on Vertex AI need, and look whether all is there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.console import out
from conceptry.errors import SettingsError
from conceptry.settings import Settings
from local.setup_folder import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console


HUB_TOKEN = "conceptry-hub-token"
_IMAGE = "CONCEPTRY_VERTEX_IMAGE"


@dataclass(frozen=True)
class Wanted:
    """What the command was given. Without credentials and bucket the blocks that are registered stay as they are."""

    credentials: Path | None
    bucket: str | None
    check_only: bool


def run(root: Path | None, wanted: Wanted) -> int:
    """Register the blocks and check; 0 when trainings may begin, 1 when something is missing.

    Raises:
        SettingsError: the settings for Vertex AI are not usable.
    """
    settings = load_settings(root)
    from tasks.training.checks import Access, check_all, resolve_image
    from tasks.training.settings import VertexSettings

    console = out()
    if not wanted.check_only:
        register(console, settings, wanted)
    credentials_block, bucket_block = blocks()
    credentials = credentials_block.get_credentials_from_service_account()
    image = os.environ.get(_IMAGE, "")
    if image and "@" not in image:
        os.environ[_IMAGE] = resolve_image(credentials, image, os.environ.get("CONCEPTRY_VERTEX_GOOGLE_APIS"))
        console.print(f"{image} is, today:\n  export {_IMAGE}={os.environ[_IMAGE]}", soft_wrap=True)
    vertex = VertexSettings()
    access = Access(
        vertex,
        credentials,
        credentials_block.get_job_service_client({"api_endpoint": vertex.endpoint}),
        credentials_block.get_cloud_storage_client(project=vertex.project),
        bucket_block.bucket,
    )
    missing = 0
    for check in check_all(access):
        missing += not check.ok
        mark = "[green]✓[/]" if check.ok else "[red]✗[/]"
        console.print(f"{mark} {check.title:<12}", end="")
        console.print(check.found, markup=False, soft_wrap=True)
        if not check.ok:
            console.print(f"    {check.mend}", markup=False, soft_wrap=True)
    console.print(_closing(missing))
    return 1 if missing else 0


def register(console: Console, settings: Settings, wanted: Wanted) -> None:
    """Register what was given as Prefect blocks, and the limit that guards the creation of jobs.

    Raises:
        SettingsError: the credentials' file cannot be read, or Prefect has none and none were given.
    """
    account = None if wanted.credentials is None else _read_account(wanted.credentials)
    token = settings.hub_token.get_secret_value() if settings.hub_token else None
    for slug in register_blocks(account, wanted.bucket, token):
        console.print(f"[green]✓[/] {'block':<12}{slug}")


def register_blocks(account: Mapping[str, Any] | None, bucket: str | None, hub_token: str | None) -> list[str]:
    """Register blocks under the names that the settings expect, and Prefect's limit; returns their slugs.

    Args:
        account: a service account's JSON; None leaves the block that is there, or registers the machine's own identity.
        bucket: name of the bucket; None leaves the block that is there.
        hub_token: goes into a Secret block; None leaves it.
    """
    from prefect.blocks.system import Secret
    from prefect.client.orchestration import get_client
    from prefect_gcp import GcpCredentials
    from prefect_gcp.cloud_storage import GcsBucket

    from flows.vertex import CREATING

    credentials_name, bucket_name = _names()
    saved = []
    credentials: Any = _existing(GcpCredentials, credentials_name)
    if account is not None or credentials is None:
        credentials = GcpCredentials(service_account_info=dict(account)) if account else GcpCredentials()
        _save(credentials, credentials_name)
        saved.append(f"gcp-credentials/{credentials_name}")
    there: Any = _existing(GcsBucket, bucket_name)
    if bucket is not None or (there is not None and account is not None):
        name = bucket or there.bucket
        _save(GcsBucket(bucket=name, gcp_credentials=credentials), bucket_name)
        saved.append(f"gcs-bucket/{bucket_name}")
    if hub_token is not None:
        _save(Secret(value=hub_token), HUB_TOKEN)
        saved.append(f"secret/{HUB_TOKEN} (CONCEPTRY_HUB_TOKEN_BLOCK={HUB_TOKEN} lets flows read it)")
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(CREATING, 1)
    return saved


def blocks() -> tuple[Any, Any]:
    """The registered GcpCredentials and GcsBucket.

    Raises:
        SettingsError: one of them is missing.
    """
    from prefect_gcp import GcpCredentials
    from prefect_gcp.cloud_storage import GcsBucket

    credentials_name, bucket_name = _names()
    credentials, bucket = _existing(GcpCredentials, credentials_name), _existing(GcsBucket, bucket_name)
    missing = [
        f"{kind}/{name}"
        for kind, name, block in (
            ("gcp-credentials", credentials_name, credentials),
            ("gcs-bucket", bucket_name, bucket),
        )
        if block is None
    ]
    if missing:
        raise SettingsError(
            f"Prefect has no block {' and no block '.join(missing)}",
            next_step="run `conceptry setup gcp --credentials FILE --bucket NAME`",
        )
    return credentials, bucket


def _names() -> tuple[str, str]:
    from tasks.training.settings import PREFIX, VertexSettings

    def name(field: str) -> str:
        return os.environ.get(PREFIX + field.upper()) or str(VertexSettings.model_fields[field].default)

    return name("credentials"), name("bucket")


def _existing(block: Any, name: str) -> Any:
    try:
        return block.load(name, _sync=True)
    except ValueError:
        return None


def _save(block: Any, name: str) -> None:
    block.save(name, overwrite=True, _sync=True)


def _read_account(path: Path) -> dict[str, Any]:
    try:
        account = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot be read: {error}", file=str(path)) from error
    if not isinstance(account, dict) or account.get("type") != "service_account":
        raise SettingsError("is not the key of a service account", file=str(path), next_step="make one in the console")
    return account


def _closing(missing: int) -> str:
    if missing:
        verb = "is" if missing == 1 else "are"
        return f"{missing} of these {verb} not as needed. Mend that and run `conceptry setup gcp` again."
    return "Trainings may begin: set CONCEPTRY_BACKEND=vertex where the flows run, or training.backend in concept.yaml."
