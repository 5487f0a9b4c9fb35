"""Single versions: looked up by what people write (`my-cat@v2`), compared, and brought here."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from conceptry.actions import Change
from conceptry.changes import list_changes
from conceptry.concept import ImageRef
from conceptry.errors import ConceptryError, DataCorruptError
from conceptry.fingerprint import content_keys
from conceptry.settings import Settings
from conceptry.version import ActualConcept, Manifest, Version
from flows import state
from flows.contact_sheet import Panel, Row, contact_sheet
from flows.flat import flat
from flows.rendering import read_manifest
from tasks import hub
from tasks.hub.card import BEFORE, EMBEDS, GRID

RELEASED = ("release", "released")
LATEST = "latest"


@dataclass(frozen=True)
class Found:
    """A version with its manifest, and whether its concept's Space serves it."""

    name: str
    version: Version
    manifest: Manifest
    released: bool

    @property
    def title(self) -> str:
        """As people write it."""
        return f"{self.name}@{self.version.name}"


def find(settings: Settings, what: str) -> Found:
    """Look a version up: NAME (the released one, else the newest), NAME@vN, NAME@release, or NAME@latest.

    Raises:
        ConceptryError: there is no such version; the message names those that there are.
    """
    name, _, wanted = what.partition("@")
    there = state.list_hub(settings).concepts.get(name)
    version = choose(there, name, wanted)
    released = there is not None and there.space is not None and there.space.release == version.name
    return Found(name, version, read_manifest(state.target(settings), version, name), released)


def choose(there: ActualConcept | None, name: str, wanted: str) -> Version:
    """The version that a word means; see `find`.

    Raises:
        ConceptryError: there is none.
    """
    if there is not None and there.trouble is not None:
        raise ConceptryError(there.trouble, concept=name)
    versions = sorted(there.versions if there else (), key=lambda version: version.number)
    if not versions:
        raise ConceptryError("nothing is published", concept=name, next_step="`conceptry plan` says what happens next")
    served = there.space.release if there and there.space else None
    if wanted == LATEST or (not wanted and served is None):
        return versions[-1]
    if wanted in RELEASED and served is None:
        raise ConceptryError("no version is released", concept=name, next_step=f"there is: {_names(versions)}")
    sought = served if not wanted or wanted in RELEASED else wanted
    for version in versions:
        if version.name == sought:
            return version
    what = f"there is no version {sought}"
    raise ConceptryError(what, concept=name, next_step=f"there is: {_names(versions)}")


def pull(settings: Settings, what: str, folder: Path) -> Found:
    """Bring a whole version here, and check the sha256 of every file.

    Raises:
        ConceptryError: there is no such version, or the folder holds other files of these names.
        DataCorruptError: what arrived is not what the manifest says.
    """
    found = find(settings, what)
    hub.download(state.target(settings), found.name, found.version.commit, folder)
    wrong = [path for path, sha256 in found.manifest.files.items() if _sha256(folder / path) != sha256]
    if wrong:
        share = f"{len(wrong)} of {len(found.manifest.files)} files"
        raise DataCorruptError(
            f"{share} are not those of {found.version.name}: {', '.join(wrong[:5])}",
            concept=found.name,
            next_step=f"remove {folder} and pull again; `conceptry verify {found.name}` tells whether the Hub has them",
        )
    return found


@dataclass(frozen=True)
class Difference:
    """Two versions compared.

    `changes` are images and keys of concept.yaml, also those that need no training; `metrics` gives old and new by
    dotted key, where they differ; `cosine` is that of each pair of vectors, in order, and `vectors` how many each has.
    """

    old: Found
    new: Found
    changes: tuple[Change, ...]
    metrics: Mapping[str, tuple[Any, Any]]
    cosine: tuple[float, ...]
    vectors: tuple[int, int]
    picture: Path | None


def compare(settings: Settings, old: Found, new: Found, picture: Path | None) -> Difference:
    """Compare two versions, of one concept or of two.

    Args:
        settings: of this installation.
        old: the one.
        new: the other.
        picture: PNG to write with both grids side by side; None for none.
    """
    images = [tuple(ImageRef(path, md5) for path, md5 in one.manifest.images.items()) for one in (old, new)]
    names = {image.md5: image.relpath for both in images for image in both}
    specs = [
        {**flat(one.manifest.spec), "base_digest": one.manifest.base_digest, "recipe": one.manifest.recipe}
        for one in (old, new)
    ]
    changes = list_changes(content_keys(images[0]), content_keys(images[1]), specs[0], specs[1], names)
    metrics = [flat(one.manifest.metrics) for one in (old, new)]
    keys = sorted(metrics[0].keys() | metrics[1].keys())
    differing = {key: (metrics[0].get(key), metrics[1].get(key)) for key in keys if not _same(metrics, key)}
    rows = [_vectors(settings, one) for one in (old, new)]
    return Difference(
        old,
        new,
        changes,
        differing,
        tuple(_cosine(one, other) for one, other in zip(*rows, strict=False)),
        (len(rows[0]), len(rows[1])),
        _side_by_side(settings, old, new, picture) if picture else None,
    )


def fetch(settings: Settings, found: Found, path: str) -> Path | None:
    """One file of a version, kept under the scratch folder; None when the version has none."""
    if path not in found.manifest.files:
        return None
    place = (settings.work / "versions" / found.manifest.fingerprint / path).absolute()
    if not place.is_file():
        target = state.target(settings)
        data = hub.read_bytes(target, found.name, path, found.version.commit)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name}")
        partial.write_bytes(data)
        partial.replace(place)
    return place


def _side_by_side(settings: Settings, old: Found, new: Found, destination: Path) -> Path:
    rows = []
    for label, path in (("with the learned token", GRID), ("before training, same seeds", BEFORE)):
        files = [(one, fetch(settings, one, path)) for one in (old, new)]
        if any(file for _, file in files):
            panels = [Panel(one.title, [file] if file else []) for one, file in files]
            rows.append(Row(label, f"{old.title} and {new.title}", panels))
    return contact_sheet(rows or [Row("no pictures", "", [Panel("", [])])], destination)


def _vectors(settings: Settings, found: Found) -> npt.NDArray[np.float32]:
    file = fetch(settings, found, EMBEDS)
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


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names(versions: list[Version]) -> str:
    return ", ".join(version.name for version in versions)
