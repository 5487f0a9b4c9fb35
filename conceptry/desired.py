"""Desired state of the concepts in git: each concept's spec and the references to its images.

`parse_sources` turns a `ConceptSource` (raw texts from git) into a `DesiredConcept`: either a valid spec or the error
that says what to correct, so that an invalid file stops its own concept only.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from conceptry.bases import BaseEntry, UnreadableBases, load_bases
from conceptry.concept import ConceptSpec, check_name, load_spec, spec_path
from conceptry.dvc_file import LOCK, DvcOutput, read_dvc_file, read_lock
from conceptry.errors import ConceptryError, Problem, SpecError
from conceptry.git_address import without_login
from conceptry.isolation import isolate, printable_name
from conceptry.reasons import ActionReason
from conceptry.unique_tokens import check_unique_tokens
from conceptry.withdrawal import read_withdrawal


@dataclass(frozen=True)
class ImageRef:
    """File under images/: its relative path, with /, and the md5 of its bytes (32 hex digits)."""

    relpath: str
    md5: str


LINK = "is a symbolic link, which is not followed; replace it by what it points to"
SUBMODULE = "is a submodule, which is not read; replace it by its files"


@dataclass(frozen=True)
class ConceptSource:
    """Raw texts of a concept's two files at one revision; None for a file that does not exist.

    `problem` says why the files were not read, for example a symbolic link, which git does not follow. `output` is the
    images folder of a stage in dvc.yaml, which takes the place of images.dvc.
    """

    name: str
    spec_text: str | None
    images_dvc: str | None
    problem: Problem | None = None
    output: DvcOutput | None = None


def with_stage_output(source: ConceptSource, read: Callable[[str], str | None]) -> ConceptSource:
    """Return a source without images.dvc with the stage of dvc.yaml that makes its images; others as they are.

    Args:
        source: Source to complete.
        read: Returns the text of a file by its path in the repository; None if it does not exist.
    """
    if source.images_dvc is not None or source.problem is not None:
        return source
    folder = images_path(source.name).removesuffix(".dvc")
    for place in (f"concepts/{source.name}/", "concepts/", ""):
        text = read(place + LOCK)
        try:
            output = None if text is None else read_lock(text, place + LOCK, folder)
        except SpecError as error:
            return replace(source, problem=Problem(None, "", f"has no images.dvc, and a lock cannot be read: {error}"))
        if output is not None:
            return replace(source, output=output)
    return source


@dataclass(frozen=True)
class DesiredConcept:
    """Desired state of one concept. With an `error` the other fields may be None, and the plan holds the concept.

    `images` is None if the listing is not in the DVC remote; `missing` are the files that the listing names and the
    remote lacks. With `remote_error`, the reason why the remote could not be read, both are unknown.
    `dvc_md5` is the md5 of the folder in DVC, with its suffix `.dir`; `dvc_remote` names the remote that it is in, None
    for the default one, and `origin` where it was imported from. `hidden` and `taken_down` are filled in for an invalid
    concept.yaml: whether it nevertheless says `space.private: true` or `release: none`.
    """

    name: str
    spec: ConceptSpec | None
    error: ConceptryError | None
    dvc_md5: str | None
    images: tuple[ImageRef, ...] | None
    missing: tuple[ImageRef, ...] = ()
    remote_error: str | None = None
    dvc_remote: str | None = None
    origin: str | None = None
    hidden: bool = False
    taken_down: bool = False

    def missing_images(self) -> tuple[ActionReason, str] | None:
        """Return why the images cannot be fetched, as reason and words; None if they can."""
        if self.remote_error is not None:
            return ActionReason.REMOTE_UNREACHABLE, f"the DVC remote could not be read: {self.remote_error}"
        if self.images is None:
            # After `dvc add --no-commit` there is nothing to push, and `dvc push` says that all is well.
            first = ", after `dvc add --no-commit` with `dvc commit` first" if self.origin is None else ""
            cause = f"the images ({self.dvc_md5}) are in git but not in the DVC remote: {self._way_to_push()}{first}"
            return ActionReason.LISTING_NOT_PUSHED, cause
        if not self.missing:
            return None
        names = ", ".join(image.relpath for image in self.missing[:3]) + (", ..." if len(self.missing) > 3 else "")
        push = self._way_to_push()
        cause = f"{len(self.missing)} of {len(self.images)} images are not in the DVC remote ({names}): {push}"
        return ActionReason.IMAGES_NOT_PUSHED, cause

    def _way_to_push(self) -> str:
        """Return what brings the images to the remote; `dvc push` leaves out what was imported."""
        if self.origin is None:
            return "run `dvc push`"
        folder = images_path(self.name).removesuffix(".dvc")
        return (
            f"they were imported from {without_login(self.origin)}, and DVC does not push imports; make them your own: "
            f"`rm {folder}.dvc && dvc add {folder}`, commit and push them"
        )


@dataclass(frozen=True)
class Desired:
    """Desired state of all concepts, at one git revision."""

    revision: str
    concepts: Mapping[str, DesiredConcept]


def images_path(name: str) -> str:
    """Return the path of a concept's images.dvc in the repo."""
    return f"concepts/{name}/images.dvc"


def parse_sources(
    sources: Iterable[ConceptSource], bases: Mapping[str, BaseEntry] = MappingProxyType({})
) -> dict[str, DesiredConcept]:
    """Validate the files of every concept. Images are not listed yet: `images` is None in each.

    Args:
        sources: The files.
        bases: Entries of bases.yaml by name.
    """
    concepts = {concept.name: concept for concept in (_isolated(source, bases) for source in sources)}
    specs = {name: concept.spec for name, concept in concepts.items() if concept.spec is not None}
    for name, error in check_unique_tokens(specs).items():
        if concepts[name].error is None:
            # What the concept serves does not depend on its token, so its spec stays in effect.
            concepts[name] = replace(concepts[name], error=error)
    return dict(sorted(concepts.items()))


def parse_bases(text: str | None) -> Mapping[str, BaseEntry]:
    """Return the entries of bases.yaml; with mistakes none, which every concept that names one then says."""
    try:
        return load_bases(text)
    except SpecError as error:
        return UnreadableBases(error)


def _isolated(source: ConceptSource, bases: Mapping[str, BaseEntry]) -> DesiredConcept:
    name = printable_name(source.name)

    def failed(error: ConceptryError) -> DesiredConcept:
        hidden, taken_down = read_withdrawal(source.spec_text)
        return DesiredConcept(name, None, error, None, None, hidden=hidden, taken_down=taken_down)

    return isolate(name, lambda: replace(_parse_source(source, bases), name=name), failed)


def _parse_source(source: ConceptSource, bases: Mapping[str, BaseEntry]) -> DesiredConcept:
    spec, output = None, None
    try:
        check_name(source.name)
        if source.problem is not None:
            raise SpecError([source.problem], f"concepts/{source.name}")
        if source.spec_text is None:
            raise SpecError([Problem(None, "", "is missing; add it, or remove the folder")], spec_path(source.name))
        spec = load_spec(source.spec_text, spec_path(source.name), bases)
        output = source.output or read_dvc_file(source.images_dvc, images_path(source.name))
    except SpecError as error:
        hidden, taken_down = read_withdrawal(source.spec_text) if spec is None else (False, False)
        return DesiredConcept(source.name, spec, error, None, None, hidden=hidden, taken_down=taken_down)
    return DesiredConcept(source.name, spec, None, output.md5, None, dvc_remote=output.remote, origin=output.origin)
