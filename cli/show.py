"""`conceptry show`: print one version."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from rich.table import Table
from rich.text import Text

from cli.options import SHORT, Full, Json, Root, VersionArgument, print_json
from conceptry.flat import flat
from conceptry.version_ref import VersionRef
from local.console import out, print_table
from local.current_setup import open_running
from tasks.hub import FoundVersion, HubSession, find_by_ref


def command(version: VersionArgument, root: Root = None, json: Json = False, full: Full = False) -> None:
    """Show one version: gate, lineage, metrics, concept.yaml, images and files."""
    with open_running(root) as installation:
        found = find_by_ref(HubSession(installation.hub), VersionRef.parse(version))
    if json:
        manifest = found.manifest.model_dump(mode="json")
        about = {"version": found.version.name, "released": found.released, "revision": found.version.commit}
        print_json({**manifest, **about})
    else:
        print_version(found, full=full)


VERDICTS = {"passed": "green", "rejected": "red", "undecided": "yellow"}
"""Colour of each verdict of the gate."""


def print_version(found: FoundVersion, *, full: bool = False) -> None:
    """Print gate, lineage, metrics, concept.yaml, images and files."""
    manifest, console = found.manifest, out()
    gate = f"[{VERDICTS[manifest.gate]}]{manifest.gate}[/]"
    released = ", [bold green]released[/]" if found.released else ""
    console.print(f"[bold]{found.title}[/]  gate {gate}{released}")
    for code, reason in zip_longest(manifest.gate_reasons, manifest.reasons, fillvalue=""):
        console.print(Text(f"  {code}: {reason}" if code else f"  {reason}"), soft_wrap=True)
    if manifest.judged:
        console.print(Text(f"  judged by {manifest.judged}"))
    short = slice(None if full else SHORT)
    lineage = {
        "made": manifest.created,
        "git commit": manifest.commit[short],
        "Hub revision": found.version.commit[short],
        "fingerprint": manifest.fingerprint[short],
        "images in DVC": manifest.dvc_md5[short],
        "base model": f"{manifest.base_model}, weights {manifest.base_digest[short]}, recipe {manifest.recipe}",
        "Prefect run": manifest.prefect_run,
        "retrained for": manifest.retrain,
        "imported from": (manifest.imported or {}).get("source"),
        "cost": json_module.dumps(manifest.cost) if manifest.cost else None,
    }
    _section("lineage", {key: value for key, value in lineage.items() if value})
    _section("metrics", figures(flat(manifest.metrics)))
    _section("concept.yaml", flat(manifest.spec))
    _section("images", {path: md5[short] for path, md5 in manifest.images.items()})
    _section("files", {path: sha256[short] for path, sha256 in manifest.files.items()})


def figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics to print, without the digests of files, which the manifest contains."""
    return {key: value for key, value in metrics.items() if not key.startswith("files.")}


def _section(title: str, values: Mapping[str, Any]) -> None:
    rows = Table(box=None, pad_edge=False, padding=(0, 3, 0, 2), show_header=False)
    rows.add_column(no_wrap=True, style="dim")
    rows.add_column(overflow="fold")
    for key, value in values.items():
        rows.add_row(Text(key), Text(figure(value)))
    console = out()
    console.print(f"\n[bold]{title}[/]")
    print_table(console, rows)


def figure(value: Any) -> str:
    """Return a value as text."""
    if value is None:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
