"""`conceptry base verify`: check the bytes of base models on this machine."""

from __future__ import annotations

import typer

from cli.base_folder import Weights, weights_folder
from cli.base_ls import as_dict
from cli.options import Json, Root, known_presets, print_json
from local.console import err, out
from tasks.weights_files import WeightsFile, verify


def command(weights: Weights = None, root: Root = None, json: Json = False) -> None:
    """Hash every file of the base models that are on this machine, and compare it with the sha256 that it must have.

    Exit code: 0 all that is there is right, 1 a file is wrong, or a base model lacks files.
    """
    folder = weights_folder(weights, root)
    with err().status("") as status:

        def told(file: str) -> None:
            status.update(f"reading {file}")

        found: dict[str, list[WeightsFile]] = {
            name: list(verify(preset, folder, told)) for name, preset in known_presets().items()
        }
    if json:
        print_json({"folder": str(folder), "base_models": as_dict(found)})
    else:
        _print(found)
    raise typer.Exit(1 if any(_is_wrong(files) for files in found.values()) else 0)


def _is_wrong(files: list[WeightsFile]) -> bool:
    """Whether a file is wrong, or some are missing beside others."""
    states = {one.state for one in files}
    return "wrong" in states or ("missing" in states and len(states) > 1)


def _print(found: dict[str, list[WeightsFile]]) -> None:
    console = out()
    for name, files in found.items():
        for one in files:
            console.print(f"{name}: {one.name}: {one.state}", markup=False, soft_wrap=True)
        if {one.state for one in files} & {"wrong", "missing"}:
            step = f"  `conceptry base fetch --base-model {name}` downloads what is missing or wrong."
            console.print(step, markup=False, soft_wrap=True)
