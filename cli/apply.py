"""`conceptry apply`: carry out a saved plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Root
from conceptry.actions import Plan
from conceptry.errors import ConceptryError
from conceptry.plan_text import summary
from local.console import out
from local.current_setup import open_running
from local.prefect_settings import prefect_of


def command(
    file: Annotated[Path, typer.Argument(help="A plan that `conceptry plan --out` saved.", exists=True)],
    root: Root = None,
) -> None:
    """Carry out exactly the actions of a saved plan; it is refused if git or the Hub has changed since."""
    text = file.read_text(encoding="utf-8")
    agreed = Plan.from_json(text)
    with open_running(root), prefect_of(root):
        from flows.apply_plan import apply  # imports Prefect, which takes longer than to find servers that are away

        done = apply(text, return_state=True)
    if not done.is_completed():
        raise ConceptryError(str(done.message))
    out().print(f"{done.message}. [dim]({summary(agreed)})[/]", soft_wrap=True)
