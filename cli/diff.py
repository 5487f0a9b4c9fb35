"""`conceptry diff`: compare two versions, of one concept or of two."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.table import Table
from rich.text import Text
from safetensors.numpy import load_file

from cli.options import VERSION_HELP, Json, Root, complete_name, print_json
from cli.show import figure, figures
from conceptry.actions import Change
from conceptry.changes import list_changes
from conceptry.desired import ImageRef
from conceptry.fingerprint import content_keys
from conceptry.flat import flat
from conceptry.version_ref import VersionRef
from conceptry.work_folder import WorkFolder
from local.console import out, print_table
from local.contact_sheet import Panel, Row, contact_sheet
from local.current_setup import open_running
from tasks.file_io import write_atomically
from tasks.hub import FoundVersion, HubSession, find_by_ref, read_bytes
from tasks.hub.card import BEFORE, EMBEDS, GRID


def command(
    old: Annotated[str, typer.Argument(help=VERSION_HELP, metavar="NAME@OLD", autocompletion=complete_name)],
    new: Annotated[
        str, typer.Argument(help="The version to compare it with.", metavar="NAME@NEW", autocompletion=complete_name)
    ],
    picture: Annotated[
        Path | None, typer.Option("--picture", help="PNG to write with both grids side by side.", dir_okay=False)
    ] = None,
    root: Root = None,
    json: Json = False,
) -> None:
    """Compare two versions: images, concept.yaml, metrics, the vectors' cosine, and both grids side by side."""
    with open_running(root) as installation:
        session, work = HubSession(installation.hub), installation.work
        one, other = (find_by_ref(session, VersionRef.parse(text)) for text in (old, new))
        default = work.root / "diff" / f"{one.title}-{other.title}.png"
        difference = compare(session, work, one, other, picture=(picture or default).absolute())
    if json:
        print_json(as_dict(difference))
    else:
        print_difference(difference)


@dataclass(frozen=True)
class Difference:
    """Differences between two versions.

    `changes` are images and keys of concept.yaml, including keys that need no training; `metrics` holds differing
    values (old, new) by dotted key; `cosine` is the similarity of each pair of vectors, in order; `vectors` their
    numbers.
    """

    old: FoundVersion
    new: FoundVersion
    changes: tuple[Change, ...]
    metrics: Mapping[str, tuple[Any, Any]]
    cosine: tuple[float, ...]
    vectors: tuple[int, int]
    picture: Path | None


def compare(
    session: HubSession, work: WorkFolder, old: FoundVersion, new: FoundVersion, *, picture: Path | None = None
) -> Difference:
    """Compare two versions, of one concept or of two.

    Args:
        session: Session with the Hub.
        work: Scratch folder, which caches downloads.
        old: First version.
        new: Second version.
        picture: PNG to write with both grids side by side; None for none.

    Raises:
        HubError, TransientError: a file of a version could not be read.
    """
    images = [tuple(ImageRef(path, md5) for path, md5 in one.manifest.images.items()) for one in (old, new)]
    names = {image.md5: image.relpath for both in images for image in both}
    specs = [
        {**flat(one.manifest.spec), "base_digest": one.manifest.base_digest, "recipe": one.manifest.recipe}
        for one in (old, new)
    ]
    changes = list_changes(
        old_images=content_keys(images[0]),
        new_images=content_keys(images[1]),
        old_keys=specs[0],
        new_keys=specs[1],
        names=names,
    )
    metrics = [flat(one.manifest.metrics) for one in (old, new)]
    keys = sorted(metrics[0].keys() | metrics[1].keys())
    differing = {key: (metrics[0].get(key), metrics[1].get(key)) for key in keys if not _same(metrics, key)}
    rows = [_vectors(session, work, one) for one in (old, new)]
    return Difference(
        old,
        new,
        changes,
        differing,
        tuple(_cosine(one, other) for one, other in zip(*rows, strict=False)),
        (len(rows[0]), len(rows[1])),
        _side_by_side(session, work, (old, new), picture) if picture else None,
    )


def as_dict(difference: Difference) -> dict[str, Any]:
    """Return the JSON of `--json`."""
    return {
        "old": difference.old.title,
        "new": difference.new.title,
        "changes": [asdict(change) for change in difference.changes],
        "metrics": {key: {"old": a, "new": b} for key, (a, b) in difference.metrics.items()},
        "cosine": [None if math.isnan(cosine) else cosine for cosine in difference.cosine],
        "vectors": list(difference.vectors),
        "picture": str(difference.picture),
    }


def print_difference(difference: Difference) -> None:
    """Print changes, differing metrics and the cosine of the vectors."""
    console = out()
    console.print(f"[bold]{difference.old.title}[/] -> [bold]{difference.new.title}[/]")
    styles = {"+": "green", "-": "red", "~": "yellow"}
    for change in difference.changes:
        line = str(change)
        console.print(Text(f"  {line}", style=styles[line[0]]), soft_wrap=True)
    if not difference.changes:
        console.print("  same images, same concept.yaml")
    differing = figures(difference.metrics)
    if differing:
        rows = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
        for title in ("metric", difference.old.title, difference.new.title):
            rows.add_column(title)
        for key, (old, new) in differing.items():
            rows.add_row(key, figure(old), figure(new))
        console.print()
        print_table(console, rows)
    vectors = "of {} and {} vectors".format(*difference.vectors)
    cosines = ", ".join("not comparable" if math.isnan(cosine) else f"{cosine:.4f}" for cosine in difference.cosine)
    console.print(f"\ncosine of the vectors: {cosines or 'none'}  [dim]({vectors})[/]")
    console.print(f"both grids side by side: [bold]{difference.picture}[/]", soft_wrap=True)


def fetch(session: HubSession, work: WorkFolder, found: FoundVersion, path: str) -> Path | None:
    """Return one file of a version, cached in the scratch folder; None if the version does not have it."""
    if path not in found.manifest.files:
        return None
    place = work.version(found.manifest.fingerprint) / path
    if not place.is_file():
        write_atomically(place, read_bytes(session, found.name, path, found.version.commit))
    return place


def _side_by_side(
    session: HubSession, work: WorkFolder, pair: tuple[FoundVersion, FoundVersion], destination: Path
) -> Path:
    rows = []
    for label, path in (("with the learned token", GRID), ("before training, same seeds", BEFORE)):
        files = [(one, fetch(session, work, one, path)) for one in pair]
        if any(file for _, file in files):
            panels = [Panel(one.title, [file] if file else []) for one, file in files]
            rows.append(Row(label, " and ".join(one.title for one in pair), panels))
    return contact_sheet(rows or [Row("no samples", "", [Panel("", [])])], destination)


def _vectors(session: HubSession, work: WorkFolder, found: FoundVersion) -> npt.NDArray[np.float32]:
    file = fetch(session, work, found, EMBEDS)
    if file is None:
        return np.zeros((0, 0), "float32")
    (rows,) = load_file(file).values()
    return np.asarray(rows, "float32")


def _cosine(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    if one.shape != other.shape:
        return float("nan")
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / length if length else 0.0


def _same(metrics: list[dict[str, Any]], key: str) -> bool:
    return key in metrics[0] and key in metrics[1] and bool(metrics[0][key] == metrics[1][key])
