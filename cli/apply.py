"""`conceptry apply`: a plan that was saved and reviewed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Root
from conceptry.actions import Plan
from conceptry.errors import ConceptryError
from conceptry.plan_text import summary
from flows.apply_plan import apply
from local.console import out
from local.setup_folder import open_installation, prefect_of


def command(
    file: Annotated[Path, typer.Argument(help="A plan that `conceptry plan --out` saved.", exists=True)],
    root: Root = None,
) -> None:
    """Carry out a saved plan, and nothing else; it is refused when git or the Hub has moved since."""
    text = file.read_text(encoding="utf-8")
    agreed = Plan.from_json(text)
    with open_installation(root), prefect_of(root):
        done = apply(text, return_state=True)
    if not done.is_completed():
        raise ConceptryError(str(done.message))
    out().print(f"{done.message}. [dim]({summary(agreed)})[/]", soft_wrap=True)
