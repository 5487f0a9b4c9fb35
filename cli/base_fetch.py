"""`conceptry base fetch`: download a base model's weights, once, for all trainings."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from cli.base_folder import BaseModel, remember, weights_folder
from cli.options import Root, known_presets
from conceptry.settings import BaseWeightsSettings
from local.console import err
from tasks.base_entries import reference
from tasks.processes import python_module


def command(
    base_model: BaseModel = "sd-v1-4",
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            help="Folder for the weights. Without it: CONCEPTRY_BASE_DIR, else the set-up's, else one in your cache.",
            file_okay=False,
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            help="Address or folder that holds the files by name, as of `conceptry base mirror`; several are tried in "
            "this order. Without it: CONCEPTRY_BASE_URL, else where they were published.",
        ),
    ] = None,
    clip: Annotated[
        bool, typer.Option("--clip", help="Also CLIP (1.7 GB): trainings that find it score their samples.")
    ] = False,
    root: Root = None,
) -> None:
    """Download a base model's weights into a folder (4.3 GB for sd-v1-4), each file checked by its sha256.

    Existing files are kept; an interrupted download resumes, also from another source.
    """
    folder = weights_folder(into, root)
    sources = [argument for one in source or () for argument in ("--from", one)]
    arguments = ["--base-model", reference(known_presets()[base_model]), "--into", str(folder), *sources]
    arguments += ["--clip"] if clip else []
    code = subprocess.run(python_module("trainer.base_weights.fetch", *arguments), check=False).returncode
    if code == 0 and folder.is_dir():
        _tell_who_uses_it(folder, root)
    raise typer.Exit(code)


def _tell_who_uses_it(folder: Path, root: Path | None) -> None:
    configured = BaseWeightsSettings().base_dir
    if configured is not None and configured.absolute() == folder:
        return
    setup = remember(folder, root)
    if setup is None:
        hint = f"`conceptry up` finds it if it is the default one; for other trainings: CONCEPTRY_BASE_DIR={folder}"
    elif setup.is_open():
        hint = f"The set-up in {setup.root} uses it once `conceptry up` is started again."
    else:
        hint = f"The set-up in {setup.root} uses it from now on."
    err().print(hint, markup=False, soft_wrap=True)
