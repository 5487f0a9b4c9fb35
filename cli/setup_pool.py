"""`conceptry setup pool`: create the work pool of this installation on the Prefect server."""

from __future__ import annotations

from typing import Annotated

import typer
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from cli.options import print_json
from conceptry.errors import SettingsError
from conceptry.settings import Settings
from flows.current_installation import build_installation
from flows.work_pool import (
    PROCESS,
    base_job_template,
    create_pool,
    create_training_queue,
    credentials_block,
    pool_name,
    pool_types,
    save_secrets,
)
from local.console import out
from local.prefect_settings import prefect_for_people


def command(
    pool_type: Annotated[
        str, typer.Argument(help="process, docker, kubernetes or cloud-run-v2.", metavar="TYPE")
    ] = PROCESS,
    image: Annotated[
        str | None, typer.Option("--image", help="Image of the flows, which cloudbuild.yaml makes. Not for process.")
    ] = None,
    show: Annotated[bool, typer.Option("--print", help="Print the base job template; change nothing.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Give an existing pool the template.")] = False,
) -> None:
    """Create the work pool that the deployments of this installation use, with a base job template for its image.

    Runs get the CONCEPTRY_... settings of the environment in which this command runs, but no secrets: these become
    Prefect Secret blocks, and the template names the blocks. In a pool of containers CONCEPTRY_MAX_PARALLEL becomes the
    limit of the work queue `trainings`. Workers of the pool: docs/workers.md.
    """
    if pool_type not in pool_types():
        raise SettingsError(f"there is no template for {pool_type!r}", next_step=f"choose one of {pool_types()}")
    if pool_type != PROCESS and image is None:
        raise SettingsError("a run needs the image of the flows", next_step="name it with --image, see docs/workers.md")
    if not get_current_settings().api.url:
        raise SettingsError("no Prefect server is configured", next_step="set PREFECT_API_URL")
    installation = build_installation(Settings())
    with prefect_for_people(), get_client(sync_client=True) as client:
        credentials = credentials_block(client, installation.vertex_basics.credentials)
    template = base_job_template(installation, pool_type, image or "", credentials)
    if show:
        print_json(template)
        return
    name = pool_name(installation.settings)
    new = create_pool(name, pool_type, template, replace=replace)
    if pool_type != PROCESS:
        create_training_queue(name, installation.settings.max_parallel)
    for block in save_secrets(installation.settings) if pool_type != PROCESS else ():
        out().print(f"[green]✓[/] {'block':<18}secret/{block}")
    out().print(f"[green]✓[/] {'work pool':<18}{name} ({pool_type}), {'created' if new else 'replaced'}")
