"""The concepts of the user's working tree, as `conceptry lint` reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptry.bases import PATH as BASES
from conceptry.concept import ConceptSpec
from conceptry.desired import (
    LINK,
    SUBMODULE,
    ConceptSource,
    DesiredConcept,
    parse_bases,
    parse_sources,
    with_stage_output,
)
from conceptry.errors import Problem
from conceptry.yaml_spec import key_line


@dataclass(frozen=True)
class Checkout:
    """Working tree with its concepts."""

    top: Path
    sources: tuple[ConceptSource, ...]
    concepts: Mapping[str, DesiredConcept]

    def line(self, name: str, key: str) -> int | None:
        """Return the line of a top-level key of concept.yaml."""
        text = next((source.spec_text for source in self.sources if source.name == name), None)
        return key_line(text or "", key)

    def specs(self) -> Iterator[tuple[str, ConceptSpec]]:
        """Yield the names and specs of the valid concepts."""
        for name, concept in self.concepts.items():
            if concept.spec is not None:
                yield name, concept.spec


def read_checkout(top: Path) -> Checkout:
    """Read concepts/*/ of a working tree."""
    sources = []
    for folder in sorted(path for path in (top / "concepts").glob("*") if path.is_dir() or path.is_symlink()):
        files = [folder / "concept.yaml", folder / "images.dvc"]
        if problem := _unread(folder, files):
            sources.append(ConceptSource(folder.name, None, None, problem))
        elif any(path.is_file() for path in files):
            source = ConceptSource(folder.name, _read(files[0]), _read(files[1]))
            sources.append(with_stage_output(source, lambda path: _read(top / path)))
    return Checkout(top, tuple(sources), parse_sources(sources, parse_bases(_read(top / BASES))))


def _unread(folder: Path, files: Sequence[Path]) -> Problem | None:
    """Return why git has no content of a concept that the working tree shows; None if it has."""
    if folder.is_symlink():
        return Problem(None, "", LINK)
    if (folder / ".git").exists():
        return Problem(None, "", SUBMODULE)
    return next((Problem(None, path.name, LINK) for path in files if path.is_symlink()), None)


def _read(file: Path) -> str | None:
    return file.read_text("utf-8", "surrogateescape") if file.is_file() else None
