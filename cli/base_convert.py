"""`conceptry base convert`: pickled weights as .safetensors, without executing what is pickled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from local.console import err, out
from tasks.pickled_checkpoint import convert_all


def command(
    source: Annotated[
        Path,
        typer.Argument(
            help="A .ckpt, .pt or .bin file of PyTorch, or a folder of diffusers with such files.",
            exists=True,
            metavar="FILE",
        ),
    ],
) -> None:
    """Write pickled weights as .safetensors files beside them; no code of a pickle runs, and the original stays."""
    with err().status(f"converting {source.name}"):
        for target, count in convert_all(source):
            out().print(f"{target}: {count} tensors", markup=False, soft_wrap=True)
