"""The folder of base model weights that the commands `conceptry base` use, and that a set-up trains from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cli.options import BaseModelOption
from conceptry.settings import BaseWeightsSettings
from local.current_setup import folder_in_use
from local.setup_folder import Folder
from tasks.weights_files import default_folder

Weights = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        help="Folder of the weights. Without it: CONCEPTRY_BASE_DIR, else the set-up's, else one in the user's cache.",
        file_okay=False,
    ),
]
BaseModel = Annotated[str, BaseModelOption]


def weights_folder(given: Path | None, root: Path | None) -> Path:
    """Return the folder of weights that a command uses."""
    folder = folder_in_use(root)
    return choose_folder(given, folder.read().base_dir if folder is not None and folder.exists() else "")


def choose_folder(given: Path | None, remembered: str) -> Path:
    """Return the folder that is given, else CONCEPTRY_BASE_DIR, the one that a set-up remembers, or the default one.

    It may be made later: `conceptry base fetch` also serves a set-up that runs.
    """
    if found := given or BaseWeightsSettings().base_dir:
        return found.expanduser().absolute()
    return Path(remembered) if remembered else default_folder()


def remember(weights: Path, root: Path | None) -> Folder | None:
    """Let the set-up train from a folder of weights; return the set-up's folder, None without one."""
    folder = folder_in_use(root)
    if folder is None or not folder.exists():
        return None
    setup = folder.read()
    if setup.base_dir != str(weights):
        folder.write(replace(setup, base_dir=str(weights)))
    return folder
