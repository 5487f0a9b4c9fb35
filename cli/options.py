"""Arguments and options of several commands."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conceptry.concept import BASE_MODELS
from conceptry.errors import ConceptryError
from conceptry.isolation import printable_name
from conceptry.suggestion import did_you_mean

if TYPE_CHECKING:
    from tasks.base_entries import Preset

Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="Folder of a set-up that `conceptry up` or `conceptry demo` made. Without it: CONCEPTRY_REPO "
        "and CONCEPTRY_HUB_OWNER, else .conceptry in this directory or above.",
        file_okay=False,
    ),
]


def complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the concepts, or after @ the versions, that complete what was typed; for the shell."""
    from local.hub_names import candidates  # for completion only

    return list(candidates(ctx.params.get("root"), incomplete))


Name = Annotated[
    str,
    typer.Argument(
        help="The concept: the name of its folder under concepts/.", metavar="NAME", autocompletion=complete_name
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
Full = Annotated[bool, typer.Option("--full", help="Print hashes and commits whole; without it their first digits.")]
SHORT = 12
"""Digits of a hash that is printed short."""


def known_base_model(name: str | None) -> str | None:
    """Return the name of a base model as it was typed.

    Raises:
        typer.BadParameter: there is none of this name.
    """
    if name is None or name in (known := base_model_names()):
        return name
    question = did_you_mean(name, known)
    choice = " or ".join(filter(None, [", ".join(known[:-1]), known[-1]]))
    raise typer.BadParameter(f"there is no base model {printable_name(name)}; {question or 'choose ' + choice}")


def base_model_names() -> list[str]:
    """Return the names of the presets, and of the entries of bases.yaml in the current checkout."""
    return list(known_presets())


def known_presets() -> dict[str, Preset]:
    """Return all base models that the current folder knows by name."""
    from tasks.base_entries import presets
    from tasks.git.checkout import find_top

    top = None
    with suppress(ConceptryError, OSError):
        top = find_top(Path.cwd())
    return presets(top)


_CHOICE = " or ".join(BASE_MODELS)
BASE_MODEL_HELP = f"{_CHOICE}."
BaseModelOption = typer.Option(
    "--base-model", help=BASE_MODEL_HELP, callback=known_base_model, autocompletion=base_model_names
)
VERSION_HELP = "A version: my-cat@v2, my-cat@release, my-cat@latest; without @ the released one, else the newest."
VersionArgument = Annotated[
    str, typer.Argument(help=VERSION_HELP, metavar="NAME[@VERSION]", autocompletion=complete_name)
]


def print_json(data: Any) -> None:
    """Print JSON for programs."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
