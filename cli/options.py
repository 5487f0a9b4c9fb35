"""Options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="Folder of a set-up that `conceptry up` or `conceptry demo` made. Without it: CONCEPTRY_... variables, "
        "else .conceptry in this directory.",
        file_okay=False,
    ),
]
Name = Annotated[str, typer.Argument(help="The concept: the name of its folder under concepts/.", metavar="NAME")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
