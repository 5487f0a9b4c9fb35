"""`conceptry hub serve`: serve the local Hub alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from local.serve_hub import AppLimits, serve


def command(
    root: Annotated[Path, typer.Option("--root", help="Folder of repositories and objects.", file_okay=False)],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on.")] = 4280,
    accounts: Annotated[
        Path | None,
        typer.Option("--accounts", help="YAML list of accounts. Without it: local, token hf_local.", dir_okay=False),
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", help="https://... of a reverse proxy in front of it; its links begin with it."),
    ] = None,
    run: Annotated[
        bool | None,
        typer.Option(
            "--run/--no-run",
            help="Run Spaces and Inference Endpoints as processes of this machine, with your rights. Default: if "
            "only this machine reaches the Hub.",
        ),
    ] = None,
    max_apps: Annotated[int, typer.Option("--max-apps", help="Maximum of concurrent ones.", min=1)] = 4,
    app_memory: Annotated[float, typer.Option("--app-memory", help="Memory of each, in GB.", min=0.05)] = 4.0,
) -> None:
    """Serve the local Hub alone, in the foreground. The huggingface_hub client needs HF_ENDPOINT set to its address."""
    raise typer.Exit(
        serve(root, host, port, accounts=accounts, public_url=public_url, apps=AppLimits(run, max_apps, app_memory))
    )
