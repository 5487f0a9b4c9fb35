"""`conceptry endpoint`: serve a published version's Inference Endpoint handler on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Root, complete_name
from conceptry.version_ref import VersionRef
from local.serve_endpoint import serve, serve_folder
from local.version_folder import is_version_folder


def command(
    concept: Annotated[
        str,
        typer.Argument(
            help="A concept or a version: my-cat, my-cat@v2, my-cat@latest; or a folder that `conceptry pull` wrote.",
            autocompletion=complete_name,
        ),
    ],
    root: Root = None,
    port: Annotated[int, typer.Option("--port", help="Port on 127.0.0.1; a free one if it is in use.")] = 8080,
) -> None:
    """Serve a published version on this machine as an Inference Endpoint would: an API that draws. Ctrl-C stops it."""
    if is_version_folder(concept):
        serve_folder(Path(concept).expanduser().resolve(), port)
    else:
        serve(root, VersionRef.parse(concept), port)
