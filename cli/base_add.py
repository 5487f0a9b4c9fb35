"""`conceptry base add`: name a Stable Diffusion checkpoint in bases.yaml, so that concepts can be trained on it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.base_folder import Weights, remember, weights_folder
from cli.options import Root
from conceptry.bases import PATH, check_base_name
from conceptry.errors import ConceptryError
from local.console import err, out
from tasks.base_download import Download, download
from tasks.base_entries import add_entry
from tasks.git.checkout import find_top


def command(
    source: Annotated[
        str,
        typer.Argument(
            help="A .safetensors file of Stable Diffusion 1.x or 2.x, a folder of diffusers, the address of a file, or "
            "a model repo of the Hub: owner/name, with @REVISION and :FILE if wanted.",
            metavar="FILE|URL|REPO",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="What concept.yaml calls it; without it, after the file.")
    ] = None,
    prediction: Annotated[
        Literal["epsilon", "v"] | None,
        typer.Option("--prediction", help="What its UNet predicts; only where the checkpoint does not say it."),
    ] = None,
    resolution: Annotated[
        int | None, typer.Option("--resolution", help="Side of the images in pixels; 512 without it.")
    ] = None,
    hub: Annotated[
        str | None, typer.Option("--hub", help="Model repo that cards name as base model, owner/name.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--license", help="Its licence, as the Hub names licences.")] = None,
    weights: Weights = None,
    root: Root = None,
) -> None:
    """Bring a checkpoint into the folder of weights, and describe it in bases.yaml: kind, files with sha256, content.

    Its files are read as a whole. What is no such checkpoint is refused by what it is: SDXL, Flux, inpainting, a
    LoRA, a pickled or truncated file. Nothing is committed.
    """
    top, folder = find_top(Path.cwd()), weights_folder(weights, root)
    last = re.split(r"[/:]", source.rstrip("/"))[-1].partition("@")[0].partition("?")[0].removesuffix(".safetensors")
    chosen = name or re.sub(r"[^a-z0-9.]+", "-", last.lower()).strip("-.")
    try:
        check_base_name(chosen)
    except ValueError as error:
        raise ConceptryError(str(error), next_step="pass a name with --name") from error
    with err().status("") as status:
        place, found = Path(source), Download(Path(source))
        if not place.exists():
            status.update(f"downloading {source}")
            found = download(source, chosen, folder, lambda file, have, of: status.update(_words(file, have, of)))
        status.update(f"reading {found.place.name}")
        details = {"resolution": resolution, "hub": hub or found.hub, "license": licence or found.license}
        entry = add_entry(
            top, chosen, found.place, folder, prediction=prediction, sources=found.sources or None, **details
        )
    remember(folder, root)
    kind = f"Stable Diffusion {entry.kind[2:]}.x, predicts {entry.prediction}, {entry.resolution} px"
    console = out()
    console.print(f"[green]✓[/] [bold]{chosen}[/] is in {PATH}: {kind}.", soft_wrap=True)
    console.print(f"  Its files are in {folder}.", markup=False, soft_wrap=True)
    console.print(
        f"\nSet `base_model: {chosen}` in a concept.yaml, and commit {PATH} with it. Other machines need the files:\n"
        f"`conceptry base mirror TARGET --base-model {chosen}`.",
        markup=False,
        soft_wrap=True,
    )


def _words(file: str, have: int, of: int | None) -> str:
    return f"downloading {file}: {have / 1e6:,.0f} MB" + (f" of {of / 1e6:,.0f}" if of else "")
