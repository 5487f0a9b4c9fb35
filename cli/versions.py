"""`conceptry versions`: list the published versions of a concept."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from cli.options import SHORT, Full, Json, Name, Root, print_json
from cli.show import VERDICTS
from conceptry.errors import UnknownConceptError
from conceptry.version import Evidence, LiveConcept, Version
from conceptry.version_ref import concept_name
from local.console import out, print_table
from local.current_setup import open_running
from tasks.hub import HubSession, complete, list_live


def command(name: Name, root: Root = None, json: Json = False, full: Full = False) -> None:
    """List the published versions of a concept, and which one its Space serves."""
    with open_running(root) as installation:
        session = HubSession(installation.hub)
        concepts = list_live(session, [concept_name(name)]).concepts
        concept = complete(session, concepts[name]) if name in concepts else None
        if concept is None or not concept.versions:
            known = ", ".join(sorted(concepts)) or "none"
            raise UnknownConceptError(
                f"has no published version at {installation.hub.endpoint}/{installation.hub.owner}; published: {known}",
                concept=name,
                next_step="see its next action with `conceptry plan`",
            )
    if json:
        print_json(as_dict(concept))
    else:
        print_table(out(), table(concept, full=full))


def as_dict(concept: LiveConcept) -> dict[str, object]:
    """Return the JSON of `--json`: the index of versions, and which one is released."""
    return {
        "name": concept.name,
        "released": concept.space.release if concept.space else None,
        "versions": [{"version": version.name, **version.to_index()} for version in concept.versions],
    }


def table(concept: LiveConcept, *, full: bool = False) -> Table:
    """Return a table with one row per version, the newest first; the released one is marked."""
    released = concept.space.release if concept.space else None
    rows = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold", title_justify="left")
    scored = any(version.clip is not None for version in concept.versions)
    compared = any(version.evidence is not None for version in concept.versions)
    more = [*(["lower by"] if compared else []), *(["CLIP score"] if scored else [])]
    for title in ("version", "gate", "held-out loss", *more, "images", "commit", "fingerprint", "created"):
        rows.add_column(title, no_wrap=True)
    for version in sorted(concept.versions, key=lambda version: version.number, reverse=True):
        rows.add_row(*_row(version, version.name == released, compared=compared, scored=scored, full=full))
    return rows


def _row(version: Version, released: bool, *, compared: bool, scored: bool, full: bool) -> tuple[Text, ...]:
    loss = "-" if version.loss is None else f"{version.loss:.4f}"
    more = [Text(_lower_by(version.evidence))] if compared else []
    more += [Text("-" if version.clip is None else f"{version.clip:.1f}")] if scored else []
    return (
        Text(f"{version.name} released" if released else version.name, style="bold green" if released else ""),
        Text(version.gate, style=VERDICTS[version.gate]),
        Text(loss),
        *more,
        Text(str(len(version.images))),
        Text(version.commit if full else version.commit[:8]),
        Text(version.fingerprint if full else version.fingerprint[:SHORT]),
        Text(version.created[:16].replace("T", " ")),
    )


def _lower_by(evidence: Evidence | None) -> str:
    """Return by how much the loss is lower than with the baseline that decided, and at least."""
    return "-" if evidence is None else f"{evidence.improvement:.1%} (at least {evidence.lower:.1%})"
