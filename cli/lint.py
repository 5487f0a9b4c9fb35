"""`conceptry lint`: check the concepts of a checkout before they are pushed.

It reads the working tree, so that it can run before a commit. The DVC remote and the Hub are read unless --no-remote.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from cli import image_checks
from cli.checkout_files import Checkout, read_checkout
from cli.options import Json, Root, print_json
from conceptry.concept import spec_path
from conceptry.desired import DesiredConcept, images_path
from conceptry.errors import ConceptryError, SpecError
from conceptry.image_folder import is_caption
from conceptry.initial_version import initial_version_problem
from conceptry.installation import Installation
from conceptry.isolation import isolate
from conceptry.policy import PATH as POLICY
from conceptry.policy import load_policy
from conceptry.suggestion import did_you_mean
from conceptry.version import Live
from local.console import out
from local.current_setup import installation_if_any
from tasks import dvc, hub, training
from tasks.git.checkout import clone_of, dvc_root, find_top, registries_below
from tasks.tokens import initializer_problem


class Format(StrEnum):
    """Output format of findings."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


@dataclass(frozen=True)
class Finding:
    """Error, warning or note about a file of the repository; `line` is from 1, or None."""

    level: image_checks.Level
    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.level}: {self.message}"


def command(
    remote: Annotated[
        bool, typer.Option("--remote/--no-remote", help="Whether to read the DVC remote and the Hub.")
    ] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    form: Annotated[
        Format, typer.Option("--format", help="Output format of the findings; json is --json.", case_sensitive=False)
    ] = Format.TEXT,
    root: Root = None,
    json: Json = False,
) -> None:
    """Check all concepts of this checkout: mistakes in files, tokens, initializers, releases, images, missing data.

    Exit code: 0 no error, 1 there are errors to correct.
    """
    findings = lint(find_top(Path.cwd()), installation_if_any(root), remote=remote)
    PRINTERS[Format.JSON if json else form](findings)
    wrong = {"error", "warning"} if strict else {"error"}
    raise typer.Exit(1 if any(finding.level in wrong for finding in findings) else 0)


def lint(top: Path, installation: Installation | None, *, remote: bool = True) -> list[Finding]:
    """Check all concepts of a checkout.

    Args:
        top: Top of the working tree.
        installation: Installation, for base model weights and the Hub; None skips checks that need the Hub.
        remote: Whether to read the DVC remote and the Hub.
    """
    checkout = read_checkout(top)
    base_dir = installation.base_dir if installation else None
    found = [*_elsewhere(checkout), *_mistakes(checkout), *_policy(checkout), *_initializers(checkout, base_dir)]
    concepts, unreachable = _images(checkout, remote=remote)
    found += [*unreachable, *_duplicates(concepts), *_unusable(checkout, concepts, base_dir)]
    if remote:
        damaged = {name: one for name, one in concepts.items() if one.error is not checkout.concepts[name].error}
        found += [*_missing(concepts), *_mistakes(replace(checkout, concepts=damaged))]
        if installation is not None:
            found += _versions(checkout, installation)
    return sorted(found, key=lambda finding: (finding.file, finding.line or 0, finding.message))


def _elsewhere(checkout: Checkout) -> Iterator[Finding]:
    """Find concepts in other folders, where there are none in this one."""
    for folder in [] if checkout.concepts else registries_below(checkout.top):
        yield Finding("warning", f"{folder}/concepts", None, f"is not read from here; run `conceptry lint` in {folder}")


def _mistakes(checkout: Checkout) -> Iterator[Finding]:
    for name, concept in checkout.concepts.items():
        error = concept.error
        if isinstance(error, SpecError):
            for problem in error.problems:
                line = problem.line or checkout.line(name, problem.field)
                message = f"{problem.field}: {problem.message}" if problem.field else problem.message
                yield Finding("error", error.path, line, message)
        elif error is not None:
            yield Finding("error", spec_path(name), None, str(error))


def _policy(checkout: Checkout) -> Iterator[Finding]:
    file = checkout.top / POLICY
    try:
        policy = load_policy(file.read_text("utf-8", "surrogateescape") if file.is_file() else None)
    except SpecError as error:
        for problem in error.problems:
            yield Finding("error", POLICY, problem.line, f"{problem.field}: {problem.message}".removeprefix(": "))
        return
    if policy.canary is not None and policy.canary not in checkout.concepts:
        question = did_you_mean(policy.canary, checkout.concepts)
        words = f"canary: there is no concept {policy.canary}; {question or 'the first one is the canary'}"
        yield Finding("warning", POLICY, None, words)


def _initializers(checkout: Checkout, base_dir: Path | None) -> Iterator[Finding]:
    for name, spec in checkout.specs():
        if problem := isolate(name, partial(initializer_problem, spec, base_dir), str):
            yield _unknown(checkout, name, problem)


def _unknown(checkout: Checkout, name: str, problem: str) -> Finding:
    line = checkout.line(name, "initializer_token")
    return Finding("error", spec_path(name), line, f"initializer_token: {problem}")


def _images(checkout: Checkout, *, remote: bool) -> tuple[dict[str, DesiredConcept], list[Finding]]:
    """Return the concepts with their images filled in, from the clone's cache or the remote, and findings."""
    concepts = dvc.list_cached(checkout.concepts, *dvc.cache_folders(dvc_root(checkout.top) or checkout.top))
    if not remote:
        return concepts, []
    try:
        listed = dvc.list_images(clone_of(checkout.top), "HEAD", concepts, _scratch(checkout), check=list(concepts))
    except ConceptryError as error:
        return concepts, [Finding("warning", ".dvc/config", None, f"the DVC remote was not checked: {error}")]
    return listed, []


def _scratch(checkout: Checkout) -> Path:
    """Return a folder for listings and findings that are kept, which git ignores."""
    return (dvc_root(checkout.top) or checkout.top) / ".dvc" / "tmp" / "conceptry"


def _unusable(checkout: Checkout, concepts: Mapping[str, DesiredConcept], base_dir: Path | None) -> Iterator[Finding]:
    """Read every image that is in the working tree; the result is kept until images.dvc or settings change."""
    for name, spec in checkout.specs():
        folder = checkout.top / "concepts" / name / "images"

        def images(_scratch: Path, folder: Path = folder) -> Path:
            return folder

        if folder.is_dir() and any(folder.iterdir()):
            place = _scratch(checkout) / "images"
            key = concepts[name].dvc_md5
            check = partial(image_checks.kept, place, name, spec, images, base_dir=base_dir, images_md5=key)
            found = isolate(name, check, _as_finding)
            for level, message in found:
                yield Finding("warning" if level == "rejected" else level, images_path(name), None, message)


def _as_finding(error: ConceptryError) -> list[tuple[image_checks.Level, str]]:
    return [("error", str(error))]


def _duplicates(concepts: Mapping[str, DesiredConcept]) -> Iterator[Finding]:
    owners: dict[str, list[tuple[str, str]]] = {}
    for name, concept in concepts.items():
        for image in concept.images or ():
            if not is_caption(image.relpath):
                owners.setdefault(image.md5, []).append((name, image.relpath))
    for places in owners.values():
        names = sorted({name for name, _ in places})
        for name, relpath in places:
            others = [f"{other}'s {path}" for other, path in places if other != name]
            if len(names) > 1:
                message = f"{relpath} is also {', '.join(others[:3])}: two concepts would learn the same image"
                yield Finding("warning", images_path(name), None, message)


def _missing(concepts: Mapping[str, DesiredConcept]) -> Iterator[Finding]:
    for name, concept in concepts.items():
        if concept.remote_error is not None:
            yield Finding("warning", images_path(name), None, f"not checked: {concept.remote_error}")
            continue
        if concept.error is not None or concept.dvc_md5 is None:
            continue
        missing = [image.relpath for image in concept.missing]
        if concept.images is None or concept.dvc_md5 in missing:
            yield Finding("error", images_path(name), None, "its images are not in the DVC remote: run `dvc push`")
        elif missing:
            shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            message = (
                f"{len(missing)} of {len(concept.images)} images are not in the DVC remote ({shown}): run `dvc push`"
            )
            yield Finding("error", images_path(name), None, message)


def _versions(checkout: Checkout, installation: Installation) -> Iterable[Finding]:
    """Check the versions that concept.yaml names, those to serve and those to start from, against the Hub."""
    pinned = {name: spec.release for name, spec in checkout.specs() if spec.release not in ("latest", "none")}
    starting = {name: spec for name, spec in checkout.specs() if spec.initial_version is not None}
    if not pinned and not starting:
        return []
    try:
        starts = {spec.initial_version.name for spec in starting.values() if spec.initial_version}
        live = hub.list_live(hub.HubSession(installation.hub), {*pinned, *starts})
    except ConceptryError as error:
        return [Finding("warning", "concepts", None, f"the Hub was not checked: {error}")]
    unpublished = [
        _unreachable(checkout, live, name, release) for name, release in pinned.items() if not _is(live, name, release)
    ]
    problems = {
        name: initial_version_problem(spec, training.base_model(spec.base_model), live.concepts)
        for name, spec in starting.items()
    }
    return unpublished + [_unknown(checkout, name, problem) for name, problem in problems.items() if problem]


def _is(live: Live, name: str, release: str) -> bool:
    live_concept = live.concepts.get(name)
    return live_concept is not None and any(version.name == release for version in live_concept.versions)


def _unreachable(checkout: Checkout, live: Live, name: str, release: str) -> Finding:
    live_concept = live.concepts.get(name)
    names = ", ".join(version.name for version in live_concept.versions) if live_concept else ""
    message = f"release: {release} is not published; published: {names or 'none'}"
    return Finding("error", spec_path(name), checkout.line(name, "release"), message)


def _text(findings: list[Finding]) -> None:
    styles = {"error": "red", "warning": "yellow", "note": "cyan"}
    console = out()
    for finding in findings:
        console.print(Text(str(finding), style=styles[finding.level]), soft_wrap=True)
    errors = sum(finding.level == "error" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    console.print(
        f"{_count(errors, 'error')}, {_count(warnings, 'warning')}." if errors or warnings else "No mistake found."
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _json(findings: list[Finding]) -> None:
    print_json([asdict(finding) for finding in findings])


def _github(findings: list[Finding]) -> None:
    """Print findings as workflow commands, which GitHub shows beside the lines of a pull request."""
    for finding in findings:
        line = f",line={finding.line}" if finding.line else ""
        place = _property(finding.file)
        level = "notice" if finding.level == "note" else finding.level
        sys.stdout.write(f"::{level} file={place}{line}::{_escaped(finding.message)}\n")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


PRINTERS: dict[Format, Callable[[list[Finding]], None]] = {
    Format.TEXT: _text,
    Format.JSON: _json,
    Format.GITHUB: _github,
}
