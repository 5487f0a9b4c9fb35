"""`conceptry setup gcp`: register the Prefect blocks of trainings on Vertex AI, and check all requirements."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from prefect.blocks.system import Secret
from prefect_gcp import GcpCredentials
from prefect_gcp.cloud_storage import GcsBucket
from rich.console import Console

from cli.options import Root
from conceptry.errors import SettingsError
from conceptry.installation import Installation
from conceptry.vertex_settings import VertexBasics, VertexSettings
from local.console import out, print_check
from local.current_setup import open_installation
from local.prefect_settings import prefect_of
from tasks.training.checks import Access, check_all, resolve_image

HUB_TOKEN = "conceptry-hub-token"


def command(
    root: Root = None,
    credentials: Annotated[
        Path | None,
        typer.Option(
            "--credentials",
            help="Key file of a service account. Without it: the registered block, else the machine's own identity.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    bucket: Annotated[
        str | None, typer.Option("--bucket", help="Bucket for records and results. Without it: the registered block.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Register nothing; only run the checks.")] = False,
) -> None:
    """Register the Prefect blocks that trainings on Vertex AI need, and check the other requirements.

    Reads CONCEPTRY_VERTEX_... variables (project, region, image, machine). A failed check prints its next step. Exit
    code: 0 ready, 1 a requirement is missing.
    """
    console = out()
    with open_installation(root) as installation, prefect_of(root):
        if not check:
            token = installation.hub.token.get_secret_value() if installation.hub.token else None
            account = None if credentials is None else _read_account(credentials)
            for slug in register_blocks(installation.vertex_basics, account, bucket, token):
                console.print(f"[green]✓[/] {'block':<18}{slug}")
        credentials_block, bucket_block = blocks(installation.vertex_basics)
        access = _access(console, installation, credentials_block, bucket_block)
    missing = print_checks(console, access)
    console.print(_closing(missing))
    raise typer.Exit(1 if missing else 0)


def _access(console: Console, installation: Installation, credentials_block: Any, bucket_block: Any) -> Access:
    """Return settings and clients for the checks, with the image's tag resolved to its digest."""
    credentials = credentials_block.get_credentials_from_service_account()
    basics, vertex = installation.vertex_basics, installation.vertex
    if basics.image and "@" not in basics.image:
        digest = resolve_image(credentials, basics.image, basics.google_apis)
        console.print(f"{basics.image} is currently:\n  export CONCEPTRY_VERTEX_IMAGE={digest}", soft_wrap=True)
        vertex = VertexSettings(image=digest)
    if not isinstance(vertex, VertexSettings):
        vertex = installation.vertex_settings()
    return Access(
        vertex,
        credentials,
        credentials_block.get_job_service_client({"api_endpoint": vertex.endpoint}),
        credentials_block.get_cloud_storage_client(project=vertex.project),
        bucket_block.bucket,
    )


def print_checks(console: Console, access: Access) -> int:
    """Print every check, with the next step of a failed one; return the number of failed checks."""
    missing = 0
    for check in check_all(access):
        missing += not check.ok
        print_check(console, check)
    return missing


def register_blocks(
    basics: VertexBasics, account: Mapping[str, Any] | None, bucket: str | None, hub_token: str | None
) -> list[str]:
    """Register blocks under the names in the settings; return their slugs.

    Args:
        basics: Names of the blocks.
        account: Service account's JSON; None keeps an existing block, or registers the machine's own identity.
        bucket: Name of the bucket; None keeps an existing block.
        hub_token: Value of the Secret block; None keeps an existing block.
    """
    credentials_name, bucket_name = basics.credentials, basics.bucket
    saved = []
    credentials: Any = _existing(GcpCredentials, credentials_name)
    if account is not None or credentials is None:
        credentials = GcpCredentials(service_account_info=dict(account)) if account else GcpCredentials()
        _save(credentials, credentials_name)
        saved.append(f"gcp-credentials/{credentials_name}")
    existing: Any = _existing(GcsBucket, bucket_name)
    if bucket is not None or (existing is not None and account is not None):
        name = bucket or existing.bucket
        _save(GcsBucket(bucket=name, gcp_credentials=credentials), bucket_name)
        saved.append(f"gcs-bucket/{bucket_name}")
    if hub_token is not None:
        _save(Secret(value=hub_token), HUB_TOKEN)
        saved.append(f"secret/{HUB_TOKEN} (CONCEPTRY_HUB_TOKEN_BLOCK={HUB_TOKEN} lets flows read it)")
    return saved


def blocks(basics: VertexBasics) -> tuple[Any, Any]:
    """Return the registered GcpCredentials and GcsBucket blocks.

    Raises:
        SettingsError: a block is missing.
    """
    credentials_name, bucket_name = basics.credentials, basics.bucket
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
        return f"{missing} of these {verb} not as needed. Correct them and run `conceptry setup gcp` again."
    return "Ready for trainings: set CONCEPTRY_BACKEND=vertex where the flows run, or training.backend in concept.yaml."
