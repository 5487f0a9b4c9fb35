"""Backup and restore of a team's set-up, while it runs or not.

A backup is a folder:

    prefect.dump     Prefect's database, by pg_dump
    hub.tar          root of the Hub
    work.tar         work folders of the workers: checkpoints of trainings; everything else in them is made again
    team.tar         settings, secrets, certificates

The order makes copies of running servers consistent. The database comes first: a run that it shows as unfinished finds
its version on the Hub, whereas a run that it shows as completed must not lack one. Of the Hub, refs come before
objects, which are only ever added, so every ref leads to objects that the copy contains.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from conceptry.errors import SettingsError
from local.team.team_folder import WORKERS, TeamFolder
from local.team.team_servers import TeamServers

DUMP, HUB, WORK, TEAM = "prefect.dump", "hub.tar", "work.tar", "team.tar"
_ADDED_ONLY = frozenset({"objects", "lfs"})
"""Folders of the Hub whose files are added under their digest, and do not change."""


def back_up(folder: TeamFolder, target: Path) -> None:
    """Write a backup of a set-up to a folder that does not exist.

    Raises:
        SettingsError: there is no set-up, or the target exists.
    """
    setup = folder.read()
    if target.exists():
        raise SettingsError(f"{target} exists", next_step="name a folder that does not exist")
    target.mkdir(parents=True, mode=0o700)
    servers = TeamServers(folder, setup)
    if folder.is_open():
        servers.postgres.dump(target / DUMP)
    else:
        with servers:
            servers.prepare()
            servers.start_postgres()
            servers.postgres.dump(target / DUMP)
    _pack(target / HUB, folder.root, _hub_files(folder.hub))
    _pack(target / WORK, folder.root, (file for worker in WORKERS for file in _files(folder.work(worker))))
    proxy = folder.service("proxy")
    _pack(target / TEAM, folder.root, [folder.file, folder.trusted, proxy / "server.pem", proxy / "server.key"])


def restore(folder: TeamFolder, source: Path) -> None:
    """Make a set-up from a backup, in a folder that does not exist or is empty; start it as always.

    Raises:
        SettingsError: the folder is not empty, or the backup is not complete. ConceptryError: the database refused it.
    """
    missing = [name for name in (DUMP, HUB, WORK, TEAM) if not (source / name).is_file()]
    if missing:
        raise SettingsError(
            f"{source} is no complete backup: {', '.join(missing)} missing", next_step="name another one"
        )
    if folder.root.exists() and any(folder.root.iterdir()):
        raise SettingsError(f"{folder.root} is not empty", next_step="name another --root, or delete it")
    folder.root.mkdir(parents=True, exist_ok=True)
    for name in (TEAM, HUB, WORK):
        with tarfile.open(source / name) as archive:
            archive.extractall(folder.root, filter="tar")
    with TeamServers(folder, folder.read()) as servers:
        servers.prepare()
        servers.start_postgres()
        servers.postgres.restore(source / DUMP)


def _pack(archive: Path, root: Path, files: Iterator[Path] | list[Path]) -> None:
    """Write files to an archive, by their paths below `root`; those that a running server deletes are left out."""
    with tarfile.open(archive, "w") as packed:
        for file in files:
            with suppress(FileNotFoundError):
                packed.add(file, file.relative_to(root).as_posix(), recursive=False)


def _hub_files(root: Path) -> Iterator[Path]:
    def is_added_only(file: Path) -> bool:
        return not _ADDED_ONLY.isdisjoint(file.relative_to(root).parts)

    yield from (file for file in _files(root) if not is_added_only(file))
    yield from (file for file in _files(root) if is_added_only(file))


def _files(root: Path) -> Iterator[Path]:
    """Yield all folders and files below a folder, and the folder."""
    yield root
    for place, folders, files in os.walk(root):
        yield from (Path(place, name) for name in (*folders, *files))
