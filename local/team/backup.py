"""Backup and restore of a team's set-up, while it runs or not.

A backup is a folder:

    prefect.dump     Prefect's database, by pg_dump
    hub.tar          root of the Hub
    work.tar         work folders of the workers: checkpoints of trainings; everything else in them is made again
    team.tar         settings, accounts, secrets, certificates

The order makes copies of running servers consistent. The database comes first: a run that it shows as unfinished finds
its version on the Hub, whereas a run that it shows as completed must not lack one. Of the Hub, refs come before
objects, which are only ever added, so every ref leads to objects that the copy contains.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conceptry.errors import ConceptryError, SettingsError
from local.team.postgres import Postgres
from local.team.programs import find_programs
from local.team.team_folder import TeamFolder, TeamSetup
from local.team.team_servers import TeamServers

DUMP, HUB, WORK, TEAM = "prefect.dump", "hub.tar", "work.tar", "team.tar"
_ADDED_ONLY = frozenset({"objects", "lfs"})
"""Folders of the Hub whose files are added under their digest, and do not change."""


def back_up(folder: TeamFolder, target: Path, database: str | None = None) -> None:
    """Write a backup of a set-up to a folder that does not exist.

    Args:
        folder: Folder of the set-up; on a host with systemd units /var/lib/conceptry.
        target: Folder of the backup.
        database: Address of Prefect's database for pg_dump; None for the set-up's own PostgreSQL.

    Raises:
        SettingsError: there is no set-up, or the target exists. ConceptryError: pg_dump failed.
    """
    if target.exists():
        raise SettingsError(f"{target} exists", next_step="name a folder that does not exist")
    setup = folder.read() if database is None else None
    target.mkdir(parents=True, mode=0o700)
    if database is not None:
        _run("pg_dump", "--format", "custom", "--no-owner", "--file", str(target / DUMP), "--dbname", database)
    elif setup is not None:
        with _postgres(folder, setup) as postgres:
            postgres.dump(target / DUMP)
    _pack(target / HUB, folder.root, _hub_files(folder.hub))
    _pack(target / WORK, folder.root, (file for work in folder.root.glob("worker-*/work") for file in _files(work)))
    own = (folder.file, folder.trusted, folder.accounts, folder.certificate, folder.key)
    _pack(target / TEAM, folder.root, [file for file in own if file.exists()])


def restore(folder: TeamFolder, source: Path, database: str | None = None) -> None:
    """Make a set-up from a backup, in a folder that does not exist or is empty; start it as always.

    Args:
        folder: Folder of the set-up.
        source: Folder of the backup.
        database: Address of an empty database for pg_restore; None for the set-up's own PostgreSQL, which is created.

    Raises:
        SettingsError: the folder is not empty, or the backup is not complete. ConceptryError: the database refused it.
    """
    missing = [name for name in (DUMP, HUB, WORK, TEAM) if not (source / name).is_file()]
    if missing:
        what = f"{source} is no complete backup: {', '.join(missing)} missing"
        raise SettingsError(what, next_step="name another one")
    if folder.root.exists() and any(folder.root.iterdir()):
        raise SettingsError(f"{folder.root} is not empty", next_step="name another --root, or delete it")
    folder.root.mkdir(parents=True, exist_ok=True)
    for name in (TEAM, HUB, WORK):
        with tarfile.open(source / name) as archive:
            # Refuses what leads out of the folder; patch releases of Python 3.11 before the fourth have no filters.
            archive.extraction_filter = getattr(tarfile, "tar_filter", None)
            archive.extractall(folder.root)
    if database is not None:
        _run("pg_restore", "--no-owner", "--exit-on-error", "--dbname", database, str(source / DUMP))
        return
    with _postgres(folder, folder.read()) as postgres:
        postgres.restore(source / DUMP)


@contextmanager
def _postgres(folder: TeamFolder, setup: TeamSetup) -> Iterator[Postgres]:
    """Yield the set-up's PostgreSQL, which runs within the block, if the set-up does not run already."""
    with TeamServers(folder, setup) as servers:
        if not folder.is_open():
            servers.prepare()
            servers.start_postgres()
        yield servers.postgres


def _run(name: str, *arguments: str) -> None:
    done = subprocess.run([find_programs([name])[name], *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        step = "check the address of the database, and PGPASSWORD"
        raise ConceptryError(f"{name} failed: {done.stderr.strip()}", next_step=step)


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
