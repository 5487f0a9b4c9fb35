"""`conceptry show`, `diff`, `pull` and `history`: single versions, for people and for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from local.console import out
from local.setup_folder import load_settings

if TYPE_CHECKING:
    from flows.versions import Difference, Found

_KINDS = {"commit": "", "version": "cyan", "release": "bold green"}


def show(root: Path | None, what: str, *, as_json: bool) -> None:
    """Print all that is known of a version."""
    settings = load_settings(root)
    from flows.versions import find

    found = find(settings, what)
    if as_json:
        told = {**found.manifest.model_dump(mode="json"), "version": found.version.name, "released": found.released}
        _json({**told, "revision": found.version.commit})
        return
    _show(found)


def _show(found: Found) -> None:
    from flows.flat import flat

    manifest, console = found.manifest, out()
    gate = "[green]passed[/]" if manifest.gate == "passed" else "[red]rejected[/]"
    released = ", [bold green]released[/]" if found.released else ""
    console.print(f"[bold]{found.title}[/]  gate {gate}{released}")
    for reason in manifest.reasons:
        console.print(Text(f"  {reason}"), soft_wrap=True)
    lineage = {
        "made": manifest.created,
        "git commit": manifest.commit,
        "Hub revision": found.version.commit,
        "fingerprint": manifest.fingerprint,
        "images in DVC": manifest.dvc_md5,
        "base model": f"{manifest.base_model}, weights {manifest.base_digest[:12]}, recipe {manifest.recipe}",
        "Prefect run": manifest.prefect_run,
        "retrained for": manifest.retrain,
        "imported from": (manifest.imported or {}).get("source"),
        "cost": json.dumps(manifest.cost) if manifest.cost else None,
    }
    _section("lineage", {key: value for key, value in lineage.items() if value})
    _section("metrics", _figures(flat(manifest.metrics)))
    _section("concept.yaml", flat(manifest.spec))
    _section("images", manifest.images)
    _section("files", {path: sha256[:16] for path, sha256 in manifest.files.items()})


def diff(root: Path | None, old: str, new: str, picture: Path | None, *, as_json: bool) -> None:
    """Print what differs between two versions, and lay their grids side by side."""
    settings = load_settings(root)
    from flows.versions import compare, find

    one, other = find(settings, old), find(settings, new)
    default = settings.work / "diff" / f"{one.title}-{other.title}.png"
    difference = compare(settings, one, other, (picture or default).absolute())
    if as_json:
        _json(
            {
                "old": one.title,
                "new": other.title,
                "changes": [asdict(change) for change in difference.changes],
                "metrics": {key: {"old": a, "new": b} for key, (a, b) in difference.metrics.items()},
                "cosine": [None if math.isnan(cosine) else cosine for cosine in difference.cosine],
                "vectors": list(difference.vectors),
                "picture": str(difference.picture),
            }
        )
        return
    _diff(difference)


def _diff(difference: Difference) -> None:
    console = out()
    console.print(f"[bold]{difference.old.title}[/] -> [bold]{difference.new.title}[/]")
    styles = {"+": "green", "-": "red", "~": "yellow"}
    for change in difference.changes:
        line = str(change)
        console.print(Text(f"  {line}", style=styles[line[0]]), soft_wrap=True)
    if not difference.changes:
        console.print("  same images, same concept.yaml")
    figures = _figures(difference.metrics)
    if figures:
        rows = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
        for title in ("metric", difference.old.title, difference.new.title):
            rows.add_column(title)
        for key, (old, new) in figures.items():
            rows.add_row(key, _value(old), _value(new))
        console.print()
        console.print(rows)
    vectors = "of {} and {} vectors".format(*difference.vectors)
    cosines = ", ".join("not comparable" if math.isnan(cosine) else f"{cosine:.4f}" for cosine in difference.cosine)
    console.print(f"\ncosine of the vectors: {cosines or 'none'}  [dim]({vectors})[/]")
    console.print(f"both grids side by side: [bold]{difference.picture}[/]", soft_wrap=True)


def _figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics for people: without the digests of the files, which are the manifest's."""
    return {key: value for key, value in metrics.items() if not key.startswith("files.")}


def pull(root: Path | None, what: str, folder: Path) -> None:
    """Bring a version's files here."""
    settings = load_settings(root)
    from flows.versions import pull as bring

    found = bring(settings, what, folder)
    count = len(found.manifest.files)
    out().print(
        f"[green]✓[/] {found.title} is in [bold]{folder}[/]: {count} files, each with its sha256.", soft_wrap=True
    )


def history(root: Path | None, name: str, *, as_json: bool) -> None:
    """Print what became of a concept, the newest first."""
    settings = load_settings(root)
    from conceptry.errors import ConceptryError
    from flows.history import history as of

    events = of(settings, name)
    if not events:
        raise ConceptryError("is neither in git nor on the Hub", concept=name, next_step="look at its name")
    if as_json:
        _json([{**asdict(event), "when": event.when.isoformat()} for event in events])
        return
    rows = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for title in ("when (UTC)", "what", "where", "by"):
        rows.add_column(title, overflow="fold", no_wrap=title in ("when (UTC)", "where"))
    for event in events:
        where = "git" if event.kind == "commit" else "Hub"
        what = Text(event.what, style=_KINDS[event.kind])
        rows.add_row(f"{event.when:%Y-%m-%d %H:%M:%S}", what, f"{where} {event.ref[:8]}", event.by)
    out().print(rows)


def _section(title: str, values: Mapping[str, Any]) -> None:
    rows = Table(box=None, pad_edge=False, padding=(0, 3, 0, 2), show_header=False)
    rows.add_column(no_wrap=True, style="dim")
    rows.add_column(overflow="fold")
    for key, value in values.items():
        rows.add_row(Text(key), Text(_value(value)))
    console = out()
    console.print(f"\n[bold]{title}[/]")
    console.print(rows)


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _json(data: Any) -> None:
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
