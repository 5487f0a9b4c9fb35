"""`conceptry base verify`: check the bytes of base models on this machine."""

from __future__ import annotations

import typer

from cli.base_folder import Weights, weights_folder
from cli.options import Root
from conceptry.concept import BASE_MODELS
from local.console import err, out
from tasks.weights_files import WeightsFile, verify


def command(weights: Weights = None, root: Root = None) -> None:
    """Hash every file of the base models that are on this machine, and compare it with the sha256 that it must have.

    Exit code: 0 all that is there is right, 1 a file is wrong, or a base model lacks files.
    """
    folder = weights_folder(weights, root)
    with err().status("") as status:

        def told(file: str) -> None:
            status.update(f"reading {file}")

        found: dict[str, list[WeightsFile]] = {str(name): list(verify(name, folder, told)) for name in BASE_MODELS}
    console, failed = out(), False
    for name, files in found.items():
        for one in files:
            failed = failed or one.state == "wrong"
            console.print(f"{name}: {one.name}: {one.state}", markup=False, soft_wrap=True)
        states = {one.state for one in files}
        failed = failed or ("missing" in states and len(states) > 1)
        if states & {"wrong", "missing"}:
            console.print(
                f"  `conceptry base fetch --base-model {name}` downloads what is missing or wrong.", markup=False
            )
    raise typer.Exit(1 if failed else 0)
