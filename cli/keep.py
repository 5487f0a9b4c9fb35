"""`conceptry verify`, `gc` and `delete`: whether all is as it should be, and what may go."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from local.console import out
from local.setup_folder import load_settings

if TYPE_CHECKING:
    from conceptry.settings import Settings
    from flows.garbage_collection import Verdict
    from flows.verify import Finding


def verify(root: Path | None, names: list[str], *, as_json: bool) -> int:
    """Check concepts end to end and print each finding; 0 when all is right, 1 when something is not."""
    settings = load_settings(root)
    from flows.verify import verify as check

    findings = check(settings, names, (lambda _: None) if as_json else _tell)
    wrong = [finding for finding in findings if finding.wrong]
    if as_json:
        told = {"ok": not wrong, "findings": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    elif wrong:
        out().print(
            f"\n{len(wrong)} of {len(findings)} checks found something. The watcher puts branches, tags, cards and "
            "Spaces right by itself; pictures come back with `dvc push`.",
            soft_wrap=True,
        )
    else:
        out().print(f"\n{len(findings)} checks, all right.")
    return 1 if wrong else 0


def _tell(finding: Finding) -> None:
    mark = "[red]✗[/]" if finding.wrong else "[green]✓[/]"
    name = f"{finding.concept}@{finding.version}" if finding.version else finding.concept
    wrong = f": {escape(finding.wrong)}" if finding.wrong else ""
    out().print(f"{mark} {name} [dim]{finding.what}[/]{wrong}", soft_wrap=True)


def collect(
    root: Path | None, names: list[str], last: int | None, days: int | None, *, apply: bool, as_json: bool
) -> None:
    """Show which versions may go, and with `apply` delete them."""
    settings = load_settings(root)
    from conceptry.policy import Keep
    from flows.garbage_collection import delete_versions, judge

    keep = None
    if last is not None or days is not None:
        default = Keep()
        keep = Keep(
            last=default.last if last is None else last,
            days=default.days if days is None else days,
        )
    verdicts = judge(settings, names, keep)
    deleted = delete_versions(settings, verdicts) if apply else 0
    bucket = {} if names else _clean_bucket(settings, days, apply=apply)
    if as_json:
        told = [
            {"concept": one.concept, "version": one.version.name, "created": one.version.created, "kept": one.kept}
            for one in verdicts
        ]
        sys.stdout.write(json.dumps({"deleted": deleted, "versions": told, "bucket": bucket}, indent=2) + "\n")
        return
    _print_verdicts(verdicts, apply=apply)
    for uri, size in bucket.items():
        out().print(f"{uri} {size / 1e6:.1f} MB {'deleted' if apply else 'would go'}", soft_wrap=True)


def _clean_bucket(settings: Settings, days: int | None, *, apply: bool) -> dict[str, int]:
    """What trainings on Vertex AI left in their bucket, where there is one."""
    from tasks.training.settings import VertexSettings

    if not VertexSettings.in_use():
        return {}
    from conceptry.policy import Keep
    from flows.vertex import clean_bucket

    return clean_bucket(settings, Keep().days if days is None else days, delete=apply)


def _print_verdicts(verdicts: list[Verdict], *, apply: bool) -> None:
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


def delete(root: Path | None, name: str, *, sure: bool) -> None:
    """Delete a concept that is no longer in git, with all its versions.

    Raises:
        ConceptryError: it is still in git, is not on the Hub, or nobody said yes.
    """
    settings = load_settings(root)
    from conceptry.errors import ConceptryError
    from flows.garbage_collection import delete_concept

    repo = f"{settings.hub_endpoint}/{settings.hub_owner}/{name}"
    if not sure:
        if not sys.stdin.isatty():
            raise ConceptryError(f"would delete {repo} for good", concept=name, next_step="say so with --yes")
        if input(f"Delete {repo} and its Space, with all versions, for good? Type the name: ").strip() != name:
            raise ConceptryError("nothing was deleted", concept=name)
    delete_concept(settings, name)
    out().print(f"{repo} and its Space are gone.", soft_wrap=True)
