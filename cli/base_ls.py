"""`conceptry base ls`: list the files of base models on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from cli.base_folder import Weights, weights_folder
from cli.options import Json, Root, known_presets, print_json
from local.console import out, print_table
from tasks.weights_files import WeightsFile, list_files

_STYLES = {"verified": "green", "not verified": "yellow", "wrong": "bold red", "missing": "red"}


def command(weights: Weights = None, json: Json = False, root: Root = None) -> None:
    """List the base models, their folder, and which files are there; nothing is read or downloaded.

    Exit code: 0 at least one base model besides tiny is complete, 1 none is.
    """
    folder = weights_folder(weights, root)
    files: dict[str, tuple[WeightsFile, ...]] = {
        name: list_files(preset, folder) for name, preset in known_presets().items()
    }
    if json:
        print_json({"folder": str(folder), "base_models": as_dict(files)})
    else:
        console = out()
        print_table(console, table(files))
        console.print(f"\nFolder: {folder}", markup=False, soft_wrap=True)
        if any(one.state == "not verified" for found in files.values() for one in found):
            console.print("`conceptry base verify` checks what was not verified yet.", markup=False, soft_wrap=True)
        for name, found in files.items():
            if any(one.state == "missing" for one in found):
                console.print(
                    f"`conceptry base fetch --base-model {name}` downloads what is missing.",
                    markup=False,
                    soft_wrap=True,
                )
    complete = [name for name, found in files.items() if all(one.state != "missing" for one in found)]
    raise typer.Exit(0 if len(complete) > 1 else 1)


def as_dict(files: Mapping[str, Sequence[WeightsFile]]) -> dict[str, Any]:
    """Return the JSON of the files of each base model."""
    return {
        name: [{**asdict(one), "path": str(one.path) if one.path else None} for one in found]
        for name, found in files.items()
    }


def table(files: dict[str, tuple[WeightsFile, ...]]) -> Table:
    """Return a table of the files, one a row."""
    rows = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for title in ("base model", "file", "size", "state"):
        rows.add_column(title, header_style="bold", no_wrap=True, justify="right" if title == "size" else "left")
    for name, found in files.items():
        for one in found:
            size = f"{one.size / 1e6:,.1f} MB" if one.path else "-"
            rows.add_row(name, one.name, size, Text(one.state, style=_STYLES[one.state]))
    return rows
