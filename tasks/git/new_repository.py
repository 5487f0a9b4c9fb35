"""A git repository with DVC for concepts, made in any folder; what exists is left as it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from conceptry.concept import json_schema
from conceptry.errors import ConceptryError, SettingsError
from tasks.extras import install_command, is_installed
from tasks.git.checkout import BASE_MODEL, setting_of, top_of
from tasks.processes import child_environment, python_module, run_to_end

IGNORED = "/.conceptry/"
REMOTE = "storage"
"""Name of the DVC remote that is made."""
SCHEMA = "concepts/concept.schema.json"
WRITTEN = (".dvc", ".dvcignore", ".gitignore", SCHEMA)
"""What is to be committed of it."""
_TIMEOUT = 120.0


@dataclass(frozen=True)
class NewRepository:
    """Requested repository.

    Attributes:
        folder: Its top; it is made if necessary.
        remote: Address or absolute path of the default DVC remote; None for a folder beside it.
        base_model: Base model that `conceptry new` proposes; None to leave that open.
    """

    folder: Path
    remote: str | None = None
    base_model: str | None = None


@dataclass(frozen=True)
class Prepared:
    """What was made, in words; what existed; the default DVC remote; and notes about what is still to be done."""

    made: tuple[str, ...]
    kept: tuple[str, ...]
    remote: str
    notes: tuple[str, ...] = ()


def default_remote(folder: Path) -> str:
    """Return the folder in which the images of a repository are stored, if nothing else is named: beside it."""
    return str(folder.with_name(f"{folder.name}-images"))


def check_folder(folder: Path) -> None:
    """Check that a repository can be made, or is, in a folder.

    Raises:
        SettingsError: git or DVC is missing, or the folder is inside of another repository, or a file.
    """
    if shutil.which("git") is None:
        raise SettingsError("git is not installed", next_step="install it: https://git-scm.com/downloads")
    if not is_installed("dvc"):
        raise SettingsError("DVC is not installed", next_step=f"run `{install_command(also='dvc')}`")
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder} is a file", next_step="name a folder")
    around = top_of(next(one for one in (folder, *folder.parents) if one.is_dir()))
    if around is not None and around.resolve() != folder.resolve():
        step = f"run `conceptry init {around}` for that repository, or name a folder outside of it"
        raise SettingsError(f"{folder} is inside of the git repository {around}", next_step=step)


def prepare(new: NewRepository) -> Prepared:
    """Make what is missing of a repository for concepts; nothing that exists is changed, and nothing is committed.

    Raises:
        SettingsError: as `check_folder`.
        ConceptryError: git or DVC refused a command.
    """
    folder = new.folder
    check_folder(folder)
    made: list[str] = []
    kept: list[str] = []
    folder.mkdir(parents=True, exist_ok=True)

    def step(what: str, there: bool, make: Callable[[], None]) -> None:
        if not there:
            make()
        (kept if there else made).append(what)

    step("git repository", top_of(folder) is not None, lambda: _run(folder, "git", "init", "--quiet", "-b", "main"))
    step("DVC", (folder / ".dvc").is_dir(), lambda: _dvc(folder, "init", "--quiet"))
    known = _default_remote_of(folder)
    remote = known or new.remote or default_remote(folder)
    add = ("remote", "add", "--quiet", "--default", REMOTE, remote)
    step(f"DVC remote {remote}", known is not None, lambda: _dvc(folder, *add))
    step(f"{IGNORED} in .gitignore", _is_ignored(folder), lambda: _ignore(folder))
    step(SCHEMA, (folder / SCHEMA).is_file(), lambda: _write_schema(folder))
    if new.base_model is not None:
        there = setting_of(folder, BASE_MODEL) == new.base_model
        step(
            f"base model {new.base_model}",
            there,
            lambda: _run(folder, "git", "config", BASE_MODEL, str(new.base_model)),
        )
    return Prepared(tuple(made), tuple(kept), remote, tuple(_notes(new, remote)))


def _notes(new: NewRepository, remote: str) -> list[str]:
    notes = []
    if new.remote is not None and new.remote != remote:
        notes.append(f"the DVC remote stays {remote}; to change it: dvc remote modify NAME url {new.remote}")
    scheme = remote.partition("://")[0] if "://" in remote else ""
    plug_in = "gs" if scheme == "gcs" else scheme
    if plug_in and plug_in not in ("http", "https", "file") and not is_installed(f"dvc_{plug_in}"):
        command = install_command("gs") if plug_in == "gs" else install_command("all", also=f"dvc-{plug_in}")
        notes.append(f"that remote needs dvc-{plug_in}, which is not installed: {command}")
    if shutil.which("dvc") is None:
        notes.append(f"the program dvc is not on your PATH: {install_command()}")
    if setting_of(new.folder, "user.email") is None:
        notes.append('git does not know you yet: git config --global user.name "NAME", and user.email')
    return notes


def _default_remote_of(folder: Path) -> str | None:
    config = ConfigParser(interpolation=None, strict=False)
    for name in ("config", "config.local"):
        with suppress(OSError, ValueError, ConfigParserError):
            config.read_string((folder / ".dvc" / name).read_text("utf-8"))
    name = config.get("core", "remote", fallback="")
    return config.get(f"'remote \"{name}\"'", "url", fallback=name) if name else None


def _is_ignored(folder: Path) -> bool:
    file = folder / ".gitignore"
    return file.is_file() and IGNORED.strip("/") in {
        line.strip().strip("/") for line in file.read_text("utf-8").splitlines()
    }


def _ignore(folder: Path) -> None:
    file = folder / ".gitignore"
    before = file.read_text("utf-8") if file.is_file() else ""
    gap = "\n" if before and not before.endswith("\n") else ""
    file.write_text(f"{before}{gap}{IGNORED}\n", encoding="utf-8")


def _write_schema(folder: Path) -> None:
    file = folder / SCHEMA
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _dvc(folder: Path, *arguments: str) -> None:
    _run(folder, *python_module("dvc", *arguments))


def _run(folder: Path, *command: str) -> None:
    environment = child_environment(DVC_NO_ANALYTICS="1")
    done = run_to_end(command, timeout=_TIMEOUT, environment=environment, folder=folder)
    if done.returncode != 0:
        words = " ".join((done.stderr or done.stdout).decode(errors="replace").split())
        name = "dvc" if "dvc" in command else command[0]
        raise ConceptryError(f"`{name} {command[-1]}` failed in {folder}: {words.removeprefix('ERROR: ')}")
