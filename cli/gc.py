"""`conceptry gc`: which versions may be deleted, and why the others stay."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cli.options import Json, Root, print_json
from conceptry.policy import Keep
from flows.garbage_collection import RetentionVerdict, delete_versions, judge
from flows.vertex_hooks import clean_bucket
from local.console import out
from local.setup_folder import open_installation, prefect_of


def command(
    names: Annotated[
        list[str] | None, typer.Argument(help="Concepts to look at; all when left out.", metavar="NAME...")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Really delete; without it nothing is changed.")] = False,
    last: Annotated[int | None, typer.Option("--last", help="Keep so many of the newest versions.", min=1)] = None,
    days: Annotated[
        int | None, typer.Option("--days", help="Keep what git asked for within so many days.", min=0)
    ] = None,
    root: Root = None,
    json: Json = False,
) -> None:
    """Show which versions may be deleted, and with --apply delete them.

    Released versions stay, the newest ones, and those that git asked for lately; conceptry.yaml says how many.
    """
    keep = None
    if last is not None or days is not None:
        default = Keep()
        keep = Keep(last=default.last if last is None else last, days=default.days if days is None else days)
    with open_installation(root) as installation, prefect_of(root):
        verdicts = judge(installation, names or [], keep)
        deleted = delete_versions(installation, verdicts) if apply else 0
        bucket = {}
        if not names and installation.vertex is not None:
            bucket = clean_bucket(installation, Keep().days if days is None else days, delete=apply)
    if json:
        versions = [
            {"concept": one.concept, "version": one.version.name, "created": one.version.created, "kept": one.kept}
            for one in verdicts
        ]
        print_json({"deleted": deleted, "versions": versions, "bucket": bucket})
        return
    print_verdicts(verdicts, apply=apply)
    for uri, size in bucket.items():
        out().print(f"{uri} {size / 1e6:.1f} MB {'deleted' if apply else 'would go'}", soft_wrap=True)


def print_verdicts(verdicts: list[RetentionVerdict], *, apply: bool) -> None:
    """Print one row a version, and what was or would be deleted."""
    rows = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for title in ("version", "made", "what", "why"):
        rows.add_column(title, no_wrap=title != "why")
    gone = "deleted" if apply else "would go"
    for one in verdicts:
        what = Text("kept", style="dim") if one.kept else Text(gone, style="bold red")
        why = one.kept or "not released, not among the newest, and git did not ask for it lately"
        rows.add_row(f"{one.concept}@{one.version.name}", one.version.created[:10], what, why)
    console = out()
    console.print(rows)
    count = sum(one.kept is None for one in verdicts)
    if not count:
        console.print("\nNothing may go.")
    elif apply:
        console.print(f"\n{count} versions deleted.")
    else:
        console.print(f"\n{count} versions would go. Nothing was deleted: [bold]conceptry gc --apply[/] does it.")
