"""Entries of bases.yaml: made of checkpoints on this machine, and read from a working tree."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from conceptry.bases import PATH, BaseEntry, load_bases
from conceptry.errors import ConceptryError, SpecError
from tasks.file_io import write_atomically
from trainer.base_weights.presets import PRESETS, Preset, of, reference

__all__ = ["Preset", "add_entry", "presets", "read_entries", "reference"]


def read_entries(top: Path) -> Mapping[str, BaseEntry]:
    """Return the entries of bases.yaml in a working tree, by name.

    Raises:
        SpecError: the file has mistakes.
    """
    file = top / PATH
    return load_bases(file.read_text("utf-8", "surrogateescape") if file.is_file() else None)


def presets(top: Path | None) -> dict[str, Preset]:
    """Return all base models that a working tree knows: the presets, and the entries of its bases.yaml.

    Without a working tree, or with mistakes in the file, these are the presets.
    """
    entries: Mapping[str, BaseEntry] = {}
    if top is not None:
        with suppress(SpecError, OSError):
            entries = read_entries(top)
    return {**PRESETS, **{name: of(name, entry.model_dump()) for name, entry in entries.items()}}


def add_entry(
    top: Path, name: str, source: Path, weights: Path, *, prediction: str | None = None, **details: Any
) -> BaseEntry:
    """Add a checkpoint to bases.yaml, after it was brought into a folder of weights.

    Args:
        top: Top of the working tree.
        name: Name of the entry.
        source: A .safetensors file, or a folder of diffusers.
        weights: Folder of weights; what lies below it already stays where it is.
        prediction: What its UNet predicts, "epsilon" or "v", where the checkpoint does not say.
        details: Other keys of the entry; those that are None are left out.

    Raises:
        ConceptryError: it is no checkpoint that can be trained on, or the name is another one's.
        SpecError: bases.yaml has mistakes.
    """
    from trainer.base_weights.sd_checkpoint import CheckpointError, entry_of, files_of, open_checkpoint

    known = read_entries(top)
    if name in PRESETS:
        raise ConceptryError(f"{name} is a preset", next_step="choose another name with --name")
    try:
        place = _bring(source, files_of(open_checkpoint(source)), weights, name)
        found = entry_of(open_checkpoint(place), weights, prediction)
    except CheckpointError as error:
        raise ConceptryError(str(error)) from error
    given = {key: value for key, value in details.items() if value is not None}
    entry = BaseEntry.model_validate({**found, **given})
    if name in known:
        if known[name] == entry:
            return entry
        raise ConceptryError(
            f"{PATH} has another base model {name}", next_step="choose another name with --name, or remove that entry"
        )
    file = top / PATH
    before = file.read_text("utf-8") if file.is_file() else ""
    values = entry.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    text = yaml.safe_dump({name: values}, sort_keys=False, allow_unicode=True, width=120)
    write_atomically(file, (before + ("\n" if before else "") + text).encode())
    return entry


def _bring(source: Path, files: list[Path], weights: Path, name: str) -> Path:
    """Return a checkpoint's place below the folder of weights; its files are linked there, or copied."""
    source, weights = source.absolute(), weights.absolute()
    if weights in source.parents:
        return source
    place = weights / name
    for file in files:
        relative = file.absolute().relative_to(source) if source.is_dir() else Path(file.name)
        target = place / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(file, target)
        except OSError:  # another file system
            shutil.copyfile(file, target)
    return place if source.is_dir() else place / source.name
