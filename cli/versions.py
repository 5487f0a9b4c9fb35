"""`conceptry versions`: what is published of one concept."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.table import Table
from rich.text import Text

from local.console import out
from conceptry.errors import ConceptryError
from conceptry.version import ActualConcept, Version
from local.setup_folder import load_settings


def show_versions(root: Path | None, name: str, *, as_json: bool) -> None:
    """Print the versions of one concept, newest first.

    Raises:
        ConceptryError: nothing is published under that name.
    """
    settings = load_settings(root)
    from tasks.hub import HubTarget, list_actual  # the Hub's client, after the settings are checked

    target = HubTarget(settings.hub_endpoint, settings.hub_owner, settings.hub_token)
    concepts = list_actual(target).concepts
    if name not in concepts:
        known = ", ".join(sorted(concepts)) or "none at all"
        raise ConceptryError(
            f"nothing is published at {settings.hub_endpoint}/{settings.hub_owner}; there is: {known}",
            concept=name,
            next_step="`conceptry plan` says what happens next",
        )
    if as_json:
        sys.stdout.write(json.dumps(as_dict(concepts[name]), indent=2) + "\n")
    else:
        out().print(table(concepts[name]))


def as_dict(concept: ActualConcept) -> dict[str, object]:
    """The JSON of `--json`: the index as the Hub holds it, and which version is released."""
    return {
        "name": concept.name,
        "released": concept.space.release if concept.space else None,
        "versions": [{"version": version.name, **version.to_index()} for version in concept.versions],
    }


def table(concept: ActualConcept) -> Table:
    """One row a version, newest first; the released one is marked."""
    released = concept.space.release if concept.space else None
    rows = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold", title_justify="left")
    scored = any(version.clip is not None for version in concept.versions)
    clip = ["CLIP score"] if scored else []
    for title in ("version", "gate", "held-out loss", *clip, "pictures", "commit", "fingerprint", "created"):
        rows.add_column(title, no_wrap=True)
    for version in sorted(concept.versions, key=lambda version: version.number, reverse=True):
        rows.add_row(*_row(version, version.name == released, scored=scored))
    return rows


def _row(version: Version, released: bool, *, scored: bool) -> tuple[Text, ...]:
    loss = "-" if version.loss is None else f"{version.loss:.4f}"
    clip = [Text("-" if version.clip is None else f"{version.clip:.1f}")] if scored else []
    return (
        Text(f"{version.name} released" if released else version.name, style="bold green" if released else ""),
        Text(version.gate, style="green" if version.gate == "passed" else "red"),
        Text(loss),
        *clip,
        Text(str(len(version.images))),
        Text(version.commit[:8]),
        Text(version.fingerprint[:12]),
        Text(version.created[:16].replace("T", " ")),
    )
