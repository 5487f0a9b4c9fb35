"""Files of base models on this machine: which are there, whether their bytes were checked, and copies for other ones.

`verified.json` in the folder of weights notes size and time of each file whose sha256 was right, so that a list does
not read gigabytes again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from conceptry.errors import ConceptryError, SettingsError, TransientError
from tasks.extras import install_command
from tasks.file_io import write_atomically
from trainer.base_weights.presets import CLIP, Preset, PresetFile, cache_folder, find, of

State = Literal["verified", "not verified", "wrong", "missing"]
RECORD = "verified.json"
_NAME = "sd-v1-4"


@dataclass(frozen=True)
class WeightsFile:
    """One file of a base model.

    Attributes:
        name: Where it lies in a folder of weights.
        sha256: What its bytes must have.
        path: Where it is on this machine; None if it is missing.
        size: Its bytes; 0 if it is missing.
        state: What is known of its bytes.
    """

    name: str
    sha256: str
    path: Path | None
    size: int
    state: State


def default_folder() -> Path:
    """Return the folder that weights are fetched to, and looked for, if no other one is named."""
    return cache_folder(_NAME)


def list_files(base_model: Preset | str, folder: Path | None) -> tuple[WeightsFile, ...]:
    """Return the files of a base model, without reading them; those of CLIP, too, if any is there.

    Args:
        base_model: Which one, or a preset's name.
        folder: Folder of weights; None for those that ship with the project.
    """
    known = _read_record(folder)
    files = [*of(base_model).files]
    if folder is not None and any((folder / file.place).exists() for file in CLIP):
        files += CLIP
    return tuple(_listed(file, folder, known) for file in files)


def missing_files(base_model: Preset | str, folder: Path | None) -> list[str]:
    """Return the names of the files of a base model that are not on this machine."""
    return [file.place for file in of(base_model).files if find(file, folder) is None]


def verify(
    base_model: Preset | str, folder: Path | None, told: Callable[[str], None] = lambda _: None
) -> Iterator[WeightsFile]:
    """Hash every file of a base model, yield it with its state, and note those that are right.

    Args:
        base_model: Which one, or a preset's name.
        folder: Folder of weights.
        told: Called with each file's name before it is read.
    """
    for one in list_files(base_model, folder):
        if one.path is None:
            yield one
            continue
        told(one.name)
        with one.path.open("rb") as stream:
            right = hashlib.file_digest(stream, "sha256").hexdigest() == one.sha256
        if folder is not None and folder in one.path.parents:
            _note(folder, one, right=right)
        yield WeightsFile(one.name, one.sha256, one.path, one.size, "verified" if right else "wrong")


def copy_to(target: str, files: tuple[WeightsFile, ...], told: Callable[[str], None] = lambda _: None) -> list[str]:
    """Copy files to a folder or an address of a storage that fsspec writes; return the names of those copied now.

    A file of the same size that is there already is left, and checked by whoever fetches it.

    Args:
        target: Path of a folder, or an address such as gs://BUCKET/weights.
        files: Files whose bytes are right.
        told: Called with each file's name before it is copied.

    Raises:
        SettingsError: the storage needs a plug-in that is not installed, or its address is wrong.
        TransientError: it cannot be written.
    """
    import fsspec

    try:
        storage, place = fsspec.core.url_to_fs(target)
    except (ImportError, ValueError) as error:
        scheme = target.partition("://")[0]
        step = f"for a storage that DVC knows, `{install_command('all', also=f'dvc-{scheme}')}`"
        raise SettingsError(f"{target} cannot be opened ({error})", next_step=step) from error
    copied = []
    try:
        for file in files:
            there = f"{place.rstrip('/')}/{file.name}"
            if file.path is None or (storage.exists(there) and storage.size(there) == file.size):
                continue
            told(file.name)
            storage.makedirs(there.rpartition("/")[0], exist_ok=True)
            storage.put_file(str(file.path), there)
            copied.append(file.name)
    except OSError as error:
        raise TransientError(
            f"{target} cannot be written ({error})", next_step="correct it and run it again"
        ) from error
    return copied


def not_here(base_model: Preset | str, folder: Path | None) -> ConceptryError | None:
    """Return what to do about weights that are not on this machine; None if all are here."""
    missing = missing_files(base_model, folder)
    if not missing:
        return None
    name = of(base_model).name
    where = f"in {folder}" if folder else "on this machine: no folder of weights is set"
    return SettingsError(
        f"the weights of {name} are not {where} ({', '.join(missing)})",
        next_step=f"`conceptry base fetch --base-model {name}` downloads them",
    )


def _listed(file: PresetFile, folder: Path | None, known: Mapping[str, Any]) -> WeightsFile:
    path = folder / file.place if folder is not None and (folder / file.place).is_file() else find(file, folder)
    if path is None:
        return WeightsFile(file.place, file.sha256, None, 0, "missing")
    about = path.stat()
    state: State = (
        "verified" if known.get(file.place) == [file.sha256, about.st_size, about.st_mtime_ns] else "not verified"
    )
    return WeightsFile(file.place, file.sha256, path, about.st_size, state)


def _read_record(folder: Path | None) -> dict[str, Any]:
    if folder is not None:
        with suppress(OSError, ValueError):
            found = json.loads((folder / RECORD).read_bytes())
            return found if isinstance(found, dict) else {}
    return {}


def _note(folder: Path, file: WeightsFile, *, right: bool) -> None:
    known = _read_record(folder)
    known.pop(file.name, None)
    if right and file.path is not None:
        about = file.path.stat()
        known[file.name] = [file.sha256, about.st_size, about.st_mtime_ns]
    with suppress(OSError):  # a folder that only its owner writes needs no record
        write_atomically(folder / RECORD, json.dumps(known, indent=2).encode())
