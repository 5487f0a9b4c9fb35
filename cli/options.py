"""Arguments and options of several commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="Folder of a set-up that `conceptry up` or `conceptry demo` made. Without it: CONCEPTRY_REPO "
        "and CONCEPTRY_HUB_OWNER, else .conceptry in this directory or above.",
        file_okay=False,
    ),
]
Name = Annotated[str, typer.Argument(help="The concept: the name of its folder under concepts/.", metavar="NAME")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
BASE_MODEL_HELP = "tiny or sd-v1-4."
VERSION_HELP = "A version: my-cat@v2, my-cat@release, my-cat@latest; without @ the released one, else the newest."
VersionArgument = Annotated[str, typer.Argument(help=VERSION_HELP, metavar="NAME[@VERSION]")]


def print_json(data: Any) -> None:
    """Print JSON for programs."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
