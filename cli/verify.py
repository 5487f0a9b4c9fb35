"""`conceptry verify`: verify all digests again, from git through DVC to the Hub.

Checks of every version: its git commit exists and contains the inputs that were trained; the DVC remote has every image
with its md5; the inputs give the version's fingerprint; every file of the version is on the Hub with its sha256;
branch, tag and index agree; the Space's files are those that were pushed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.markup import escape

from cli.options import Json, Root, complete_name, print_json
from conceptry.concept import BaseModel, ConceptSpec
from conceptry.desired import Desired, ImageRef, parse_sources
from conceptry.errors import ConceptryError, UnknownConceptError
from conceptry.fingerprint import training_fingerprint, training_keys
from conceptry.installation import Installation
from conceptry.version import LiveConcept, Manifest, Version
from conceptry.version_ref import VersionRef
from flows.drift import find_edits
from local.console import out
from local.current_setup import open_running
from tasks import dvc, git, hub, training
from tasks.file_io import file_digest
from tasks.git.desired_concepts import read_desired
from tasks.hub.ownership import GITATTRIBUTES
from tasks.hub.repo_versions import version_of
from tasks.hub.session import MANIFEST


@dataclass(frozen=True)
class Finding:
    """Result of one check; `version` is None for checks of the concept; `wrong` is None if the check passed."""

    concept: str
    version: str | None
    what: str
    wrong: str | None


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Concepts or versions (my-cat@v2); all if left out.", metavar="NAME...", autocompletion=complete_name
        ),
    ] = None,
    root: Root = None,
    json: Json = False,
) -> None:
    """Verify all digests again, from git through DVC to the Hub, and print every mismatch.

    Exit code: 0 all checks passed, 1 a check failed.
    """
    with open_running(root) as installation:
        findings = verify(installation, names or [], (lambda _: None) if json else print_finding)
    wrong = [finding for finding in findings if finding.wrong]
    if json:
        print_json({"ok": not wrong, "findings": [asdict(finding) for finding in findings]})
    elif wrong:
        out().print(
            f"\n{len(wrong)} of {len(findings)} checks failed. The watcher repairs branches, tags, cards and "
            "Spaces; missing images need a `dvc push`.",
            soft_wrap=True,
        )
    else:
        out().print(f"\n{len(findings)} checks passed.")
    raise typer.Exit(1 if wrong else 0)


def verify(
    installation: Installation, names: Collection[str] = (), report: Callable[[Finding], None] = lambda _: None
) -> list[Finding]:
    """Check concepts end to end; nothing is changed.

    Args:
        installation: Installation, for git, DVC and Hub.
        names: Concepts, or single versions (`my-cat@v2`); all if empty.
        report: Called with each finding.

    Raises:
        ConceptryError: a concept or version does not exist.
    """
    desired, session = read_desired(installation), hub.HubSession(installation.hub)
    live, verifier = hub.list_live(session, tuple(desired.concepts)), _Verifier(installation, session, desired)
    selected = _selected(names, {*desired.concepts, *live.concepts})
    findings = []
    for name, versions in sorted(selected.items()):
        live_concept = hub.complete(session, live.concepts.get(name, LiveConcept(name, (), None)))
        missing = versions - {version.name for version in live_concept.versions}
        if missing:
            raise ConceptryError(f"there is no version {', '.join(sorted(missing))}", concept=name)
        for finding in verifier.check(live_concept, versions):
            report(finding)
            findings.append(finding)
    return findings


def _selected(names: Collection[str], known: Collection[str]) -> dict[str, set[str]]:
    """Return the concepts to check, each with the selected versions; an empty set means all."""
    if not names:
        return {name: set() for name in known}
    selected: dict[str, set[str]] = {}
    for text in names:
        ref = VersionRef.parse(text)
        if ref.name not in known:
            raise UnknownConceptError(
                "is neither in git nor on the Hub",
                concept=ref.name,
                next_step="check the name: `conceptry plan` lists all concepts",
            )
        selected.setdefault(ref.name, set()).update({ref.version} - {None})  # type: ignore[arg-type]
    return selected


@dataclass(frozen=True)
class _Verifier:
    """Inputs of all checks."""

    installation: Installation
    session: hub.HubSession
    desired: Desired

    def check(self, live: LiveConcept, only: Collection[str]) -> Iterator[Finding]:
        """Check one concept and its versions in `only`; all versions if it is empty."""
        name, concept = live.name, self.desired.concepts.get(live.name)
        if concept is not None:
            yield Finding(name, None, "concept.yaml", str(concept.error) if concept.error else None)
        if live.error:
            yield Finding(name, None, "model repo", live.error)
            return
        moved = hub.find_moved_refs(self.session, name, live.versions)
        yield Finding(name, None, "branches and tags", "; ".join(map(str, moved)) or None)
        if live.main is not None and live.main.sha is not None:
            changed = hub.find_card_edits(self.session, name, live.main.sha)
            yield Finding(name, None, "card", "; ".join(map(str, changed)) or None)
        edits = find_edits(self.session, self.desired, live)
        if edits is not None:
            yield Finding(name, None, "Space", "; ".join(map(str, edits)) or None)
        for version in live.versions:
            if not only or version.name in only:
                for what, check in self._checks(name, version):
                    try:
                        wrong = check()
                    except ConceptryError as error:
                        wrong = str(error)
                    yield Finding(name, version.name, what, wrong)

    def _checks(self, name: str, version: Version) -> Iterator[tuple[str, Callable[[], str | None]]]:
        try:
            manifest = hub.read_manifest(self.session, name, version)
        except ConceptryError as error:
            message = str(error)
            yield "manifest", lambda: message
            return
        yield "index", lambda: _index(manifest, version)
        yield "fingerprint", lambda: _fingerprint(manifest)
        if manifest.imported is None:
            yield "git", lambda: _git(self.installation, manifest)
        yield "DVC", lambda: _dvc(self.installation, self.desired, manifest)
        yield "Hub", lambda: _hub(self.session, manifest, version)


def _index(manifest: Manifest, version: Version) -> str | None:
    """Return how the card's index differs from the manifest; None if it does not."""
    true = version_of(manifest, version.number, version.commit).to_index()
    indexed = version.to_index()
    # Entries of older releases of Conceptry lack the duration of the training.
    keys = (true.keys() | indexed.keys()) - ({"seconds"} - indexed.keys())
    wrong = [key for key in sorted(keys) if true.get(key) != indexed.get(key)]
    return f"the card on main says another {', '.join(wrong)} than concept.json" if wrong else None


def _base(manifest: Manifest, spec: ConceptSpec) -> BaseModel:
    """Return the base model that a version was trained on."""
    kind = spec.base.kind if spec.base else None
    return BaseModel(manifest.base_model, manifest.base_digest, manifest.recipe, spec.resolution or 0, kind=kind)


def _fingerprint(manifest: Manifest) -> str | None:
    """Return an error if the inputs in the manifest do not give its fingerprint."""
    spec = _spec(manifest)
    base = _base(manifest, spec)
    images = [ImageRef(path, md5) for path, md5 in manifest.images.items()]
    made = training_fingerprint(spec, images, base, manifest.retrain)
    # Up to release 0.1 a default of the base model counted if it was written out.
    preset = training.base_models().get(manifest.base_model, base)
    left_out = replace(base, defaults=preset.defaults)
    if manifest.fingerprint in (made, training_fingerprint(spec, images, left_out, manifest.retrain)):
        return None
    return f"its inputs give {made[:12]}, not {manifest.fingerprint[:12]}"


def _git(installation: Installation, manifest: Manifest) -> str | None:
    """Return an error if the git commit does not contain these images and training keys."""
    sources = git.read_concepts(installation.mirror, manifest.commit)
    bases = git.read_bases(installation.mirror, manifest.commit)
    concept = parse_sources([source for source in sources if source.name == manifest.name], bases).get(manifest.name)
    if concept is None or concept.spec is None:
        return f"commit {manifest.commit[:8]} does not contain it"
    if concept.dvc_md5 != manifest.dvc_md5:
        return f"images.dvc at {manifest.commit[:8]} is {concept.dvc_md5}, not {manifest.dvc_md5}"
    spec = _spec(manifest)
    base = _base(manifest, spec)
    expected, trained = training_keys(concept.spec, base), training_keys(spec, base)
    wrong = [key for key in expected if expected[key] != trained[key]]
    return f"concept.yaml at {manifest.commit[:8]} has another {', '.join(wrong)}" if wrong else None


def _dvc(installation: Installation, desired: Desired, manifest: Manifest) -> str | None:
    """Return an error if the remote does not have every image with its md5; every byte is read."""
    concept = desired.concepts.get(manifest.name)
    with TemporaryDirectory(prefix="conceptry-verify-") as folder:
        destination = Path(folder) / "images"
        dvc.fetch_images(
            installation.mirror,
            desired.revision,
            manifest.dvc_md5,
            None,
            destination=destination,
            concept=manifest.name,
            remote_name=concept.dvc_remote if concept else None,
        )
        found = {
            path.relative_to(destination).as_posix(): file_digest(path, "md5")
            for path in destination.rglob("*")
            if path.is_file()
        }
    return None if found == manifest.images else "the images are not those of concept.json"


def _hub(session: hub.HubSession, manifest: Manifest, version: Version) -> str | None:
    """Return an error if the version's files are not exactly those of the manifest, by sha256; every byte is read."""
    with TemporaryDirectory(prefix="conceptry-verify-") as folder:
        place = hub.download(session, manifest.name, version.commit, Path(folder) / "version")
        found = {
            path.relative_to(place).as_posix(): file_digest(path, "sha256")
            for path in place.rglob("*")
            if path.is_file() and ".cache" not in path.relative_to(place).parts
        }
    found = {path: digest for path, digest in found.items() if path not in (MANIFEST, GITATTRIBUTES)}
    keys = found.keys() | manifest.files.keys()
    wrong = [path for path in sorted(keys) if found.get(path) != manifest.files.get(path)]
    more = ", ..." if len(wrong) > 5 else ""
    return f"other bytes than concept.json says: {', '.join(wrong[:5])}{more}" if wrong else None


def _spec(manifest: Manifest) -> ConceptSpec:
    try:
        return ConceptSpec.model_validate(manifest.spec)
    except ValidationError as error:
        what = f"the concept.yaml in its manifest cannot be read ({error.error_count()} mistakes)"
        raise ConceptryError(what) from None


def print_finding(finding: Finding) -> None:
    """Print one finding as a line."""
    mark = "[red]✗[/]" if finding.wrong else "[green]✓[/]"
    name = f"{finding.concept}@{finding.version}" if finding.version else finding.concept
    wrong = f": {escape(finding.wrong)}" if finding.wrong else ""
    out().print(f"{mark} {name} [dim]{finding.what}[/]{wrong}", soft_wrap=True)
