"""`conceptry demo`: the complete workflow on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from local.demo.run_demo import run


def command(
    root: Annotated[
        Path, typer.Option("--root", help="Scratch folder, which is kept for inspection.", file_okay=False)
    ] = Path("demo"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what an earlier demo left in the folder.")] = False,
) -> None:
    """Run the complete workflow on this machine in a few minutes: images in git become a published concept."""
    raise typer.Exit(run(root, fresh=fresh))
