"""`conceptry base mirror`: copy the weights of base models for other machines."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.base_folder import BaseModel, Weights, weights_folder
from cli.options import Root, known_presets
from conceptry.errors import ConceptryError
from local.console import err, out
from tasks.weights_files import copy_to, not_here, verify


def command(
    target: Annotated[
        str, typer.Argument(help="Folder, or address of a storage such as gs://BUCKET/weights.", metavar="DIR|URL")
    ],
    base_model: BaseModel = "sd-v1-4",
    weights: Weights = None,
    root: Root = None,
) -> None:
    """Check a base model's files by their sha256, and copy them to a folder or a bucket, for others to fetch."""
    folder = weights_folder(weights, root)
    preset = known_presets()[base_model]
    if problem := not_here(preset, folder):
        raise problem
    with err().status("") as status:
        files = tuple(verify(preset, folder, lambda name: status.update(f"reading {name}")))
        if wrong := [one.name for one in files if one.state == "wrong"]:
            step = f"`conceptry base fetch --base-model {base_model}` downloads them again"
            raise ConceptryError(f"not copied, because their sha256 is wrong: {', '.join(wrong)}", next_step=step)
        copied = copy_to(target, files, lambda name: status.update(f"copying {name}"))
    out().print(
        f"{target} holds {base_model}: {len(copied)} files copied, {len(files) - len(copied)} there.\n"
        f"On other machines: conceptry base fetch --base-model {base_model} --from {target}, or the "
        "address of a web server of it",
        markup=False,
        soft_wrap=True,
    )
