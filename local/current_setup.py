"""The set-up that a command uses: of `--root`, else of the environment, else of `.conceptry/` here or above.

The environment counts if it names an installation, with CONCEPTRY_REPO and CONCEPTRY_HUB_OWNER. One variable alone, for
example CONCEPTRY_BASE_DIR, does not switch a set-up off.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from conceptry.errors import SettingsError, UnknownConceptError
from conceptry.installation import Installation
from conceptry.settings import PREFIX, BaseWeightsSettings, Settings
from flows.current_installation import build_installation, using
from flows.known_concepts import explain
from local.child_process import loopback_without_proxy
from local.setup_folder import DEFAULT_ROOT, Folder, Setup
from tasks.hub_check import check_hub

_NAMING = (f"{PREFIX}REPO", f"{PREFIX}HUB_OWNER")
"""Variables that every installation needs, and that no other setting makes sense without."""


@contextmanager
def open_installation(root: Path | None) -> Iterator[Installation]:
    """Yield the installation of the set-up in `root`, else of the environment, else of `.conceptry/` here or above.

    Flows that are called within the block use it. An UnknownConceptError of the block gets a suggestion, see
    `flows.known_concepts`.

    Raises:
        SettingsError: none of the three is complete; the message names all that is missing.
    """
    folder = folder_in_use(root)
    installation = installation_of(folder, folder.read()) if folder else build_installation(Settings())
    try:
        with using(installation):
            yield installation
    except UnknownConceptError as error:
        raise explain(error, installation) from error


@contextmanager
def open_running(root: Path | None) -> Iterator[Installation]:
    """Yield the installation of `open_installation`; a set-up's servers must be running, and the Hub must answer.

    Raises:
        SettingsError: they are not, or the settings are not complete.
        TransientError: the Hub does not answer; found in seconds, where its client would try again for longer.
    """
    folder = folder_in_use(root)
    if folder is not None and folder.exists() and not folder.is_open():
        what = f"the servers of {folder.root} are not running"
        raise SettingsError(what, next_step=f"start them in another terminal with `{start_command(root)}`")
    with open_installation(root) as installation:
        check_hub(installation.hub, start_command(root))
        yield installation


def installation_if_any(root: Path | None) -> Installation | None:
    """Return the installation of `open_installation`; None if settings are missing.

    Raises:
        SettingsError: `root` was passed and is not a complete set-up.
    """
    try:
        with open_installation(root) as installation:
            return installation
    except SettingsError:
        if root is not None:
            raise
        return None


def installation_of(folder: Folder, setup: Setup) -> Installation:
    """Return the installation of a set-up; other settings come from the environment."""
    _prepare_clients(folder, setup)

    def renew() -> SecretStr:
        return SecretStr(folder.read().hub_token)

    settings = setup.settings(folder)
    if BaseWeightsSettings().base_dir is not None:  # for this command
        settings.pop("base_dir", None)
    return build_installation(Settings(**settings), renew=renew, **setup.vertex_settings())


def folder_in_use(root: Path | None) -> Folder | None:
    """Return the folder that `open_installation` reads; None if settings come from the environment."""
    if root is not None:
        return Folder.at(root)
    return None if all(os.environ.get(name) for name in _NAMING) else find_folder(Path.cwd())


def find_folder(start: Path) -> Folder | None:
    """Return the set-up in `.conceptry/` of a folder, or of the nearest one around it; None if there is none.

    That of another user is none: it would decide what this user's commands run and read.
    """
    for place in (start, *start.parents):
        folder = Folder.at(place / DEFAULT_ROOT)
        if folder.exists() and folder.file.stat().st_uid == os.geteuid():
            return folder
    return None


def start_command(root: Path | None) -> str:
    """Return the command that starts the servers of a set-up, to be pasted into a shell."""
    return "conceptry up" if root is None else f"conceptry up --root {shlex.quote(str(root))}"


def _prepare_clients(folder: Folder, setup: Setup) -> None:
    """Set variables that libraries read from the environment only: proxies, the Hub's transport, emulated addresses."""
    os.environ.update(loopback_without_proxy())
    os.environ.update({"HF_HUB_DISABLE_XET": "1", "DO_NOT_TRACK": "1", **setup.google_variables(folder)})
    if setup.cloud_emulated:
        # Google's client requests the allowed locations of its key from Google even in an emulated cloud, and logs each
        # failed attempt as a warning.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
