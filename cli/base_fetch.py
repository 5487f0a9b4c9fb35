"""`conceptry base fetch`: download a base model's weights, once, for all trainings."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from conceptry.settings import BaseWeightsSettings
from local.console import err
from tasks.processes import python_module


def command(
    base_model: Annotated[str, typer.Option("--base-model", help="tiny or sd-v1-4.")] = "sd-v1-4",
    into: Annotated[
        Path | None, typer.Option("--into", help="Folder for the weights; CONCEPTRY_BASE_DIR.", file_okay=False)
    ] = None,
    clip: Annotated[
        bool, typer.Option("--clip", help="Also CLIP (1.7 GB): trainings that find it score their samples.")
    ] = False,
) -> None:
    """Download a base model's weights into a folder (4.3 GB for sd-v1-4), each file checked by its sha256.

    Existing files are kept; an interrupted download resumes.
    """
    configured = BaseWeightsSettings().base_dir
    folder = into or configured
    if folder is None:
        err().print(
            "No folder is set: pass --into FOLDER, or set CONCEPTRY_BASE_DIR, from which trainings read weights."
        )
        raise typer.Exit(2)
    arguments = ["--base-model", base_model, "--into", str(folder), *(["--clip"] if clip else [])]
    code = subprocess.run(python_module("trainer.base_weights.fetch", *arguments), check=False).returncode
    if code == 0 and folder != configured:
        err().print(f"To use it in trainings: CONCEPTRY_BASE_DIR={folder.resolve()}")
    raise typer.Exit(code)
