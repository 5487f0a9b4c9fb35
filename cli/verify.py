"""`conceptry verify`: whether everything is as it should be."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from cli.options import Json, Root, print_json
from flows.verify import Finding, verify
from local.console import out
from local.setup_folder import open_installation


def command(
    names: Annotated[
        list[str] | None, typer.Argument(help="Concepts or versions (my-cat@v2); all when left out.", metavar="NAME...")
    ] = None,
    root: Root = None,
    json: Json = False,
) -> None:
    """Hash everything again, from git through DVC to the Hub, and say what is not as it should be.

    Exit code: 0 all is right, 1 something is not.
    """
    with open_installation(root) as installation:
        findings = verify(installation, names or [], (lambda _: None) if json else print_finding)
    wrong = [finding for finding in findings if finding.wrong]
    if json:
        print_json({"ok": not wrong, "findings": [asdict(finding) for finding in findings]})
    elif wrong:
        out().print(
            f"\n{len(wrong)} of {len(findings)} checks found something. The watcher repairs branches, tags, cards and "
            "Spaces by itself; pictures come back with `dvc push`.",
            soft_wrap=True,
        )
    else:
        out().print(f"\n{len(findings)} checks, all right.")
    raise typer.Exit(1 if wrong else 0)


def print_finding(finding: Finding) -> None:
    """Print one finding as a line."""
    mark = "[red]✗[/]" if finding.wrong else "[green]✓[/]"
    name = f"{finding.concept}@{finding.version}" if finding.version else finding.concept
    wrong = f": {escape(finding.wrong)}" if finding.wrong else ""
    out().print(f"{mark} {name} [dim]{finding.what}[/]{wrong}", soft_wrap=True)
