"""Import of a folder of many learned concepts, each in a folder of its own, as the sd-concepts-library has them.

The folder may be the cache of huggingface_hub, or one repo of it: each model is read as its branch main was.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from huggingface_hub import scan_cache_dir
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.embeds_import import Wanted, import_embeds, token_of
from conceptry.concept import NAME, load_spec, spec_path
from conceptry.errors import ConceptryError, RateLimitedError
from conceptry.installation import Installation
from conceptry.isolation import isolate, printable
from conceptry.markdown import one_line
from conceptry.version import Version
from local.console import out
from tasks import hub
from tasks.base_entries import read_entries
from tasks.embeds import Embeds, is_embeds_folder, read_embeds

Result = Literal["published", "published before", "failed", "not tried"]
_STYLES: dict[Result, str] = {"published": "green", "published before": "dim", "failed": "red", "not tried": "yellow"}
_PARTS = frozenset({"token_identifier.txt", "type_of_concept.txt", "concept_images"})
_ENDINGS = frozenset({".bin", ".pt", ".safetensors"})
_CACHED = "models--"
"""Beginning of the name of a model's folder in the cache of huggingface_hub."""
_UNREACHABLE = 3
"""Concepts in a row that fail by what may pass, such as a Hub that is away, after which the others are not tried."""


@dataclass(frozen=True)
class Outcome:
    """What came of one folder.

    Attributes:
        name: Name of the concept.
        result: What happened.
        version: Its version, such as v1.
        token: Its placeholder token.
        words: The cause of a failure, or a remark.
        retryable: Whether a failure may pass.
        limited: Whether the Hub takes no more for now, which goes for the following ones, too.
    """

    name: str
    result: Result
    version: str = ""
    token: str = ""
    words: str = ""
    retryable: bool = False
    limited: bool = False


def find_concepts(folder: Path) -> tuple[Path, ...]:
    """Return the folders in a folder that hold a learned concept, or parts of one, by name."""
    each = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if folder.name.startswith(_CACHED) or any(path.name.startswith(_CACHED) for path in each):
        each = _snapshots(folder)
    found = (path for path in each if is_embeds_folder(path) or _has_parts(path))
    return tuple(sorted(found, key=lambda path: (concept_name(path), path.name)))


def _snapshots(folder: Path) -> list[Path]:
    """Return the snapshots of main, else the newest ones, of the models in a cache of huggingface_hub or one repo."""
    cache = folder.parent if folder.name.startswith(_CACHED) else folder
    repos = [
        repo for repo in scan_cache_dir(cache).repos if repo.repo_type == "model" and folder in (cache, repo.repo_path)
    ]
    newest = {repo: max(repo.revisions, key=lambda one: one.last_modified, default=None) for repo in repos}
    found = (repo.refs.get("main") or newest[repo] for repo in repos)
    return [revision.snapshot_path for revision in found if revision is not None]


def import_library(installation: Installation, top: Path, folders: Sequence[Path], wanted: Wanted) -> int:
    """Import each folder as a concept of its name; print a line for each, and a table at the end.

    A concept that is published already is left as it is, so that a second call goes on where the first one ended. What
    fails is named with its cause, and the others go on.

    Args:
        installation: Installation, for the Hub and the base model's weights.
        top: Top of the working tree.
        folders: Folders of learned concepts.
        wanted: What the user asked for all of them.

    Returns:
        The number of concepts that failed or were not tried.
    """
    console = out()
    outcomes: list[Outcome] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(folders))
        for number, folder in enumerate(folders, 1):
            name = concept_name(folder)
            progress.update(task, description=name)
            outcomes.append(_next(installation, top, folder, wanted, outcomes))
            _tell(console, f"[{number}/{len(folders)}]", outcomes[-1])
            progress.advance(task)
    _summarise(console, outcomes)
    return sum(one.result in ("failed", "not tried") for one in outcomes)


def concept_name(folder: Path) -> str:
    """Return the name of the concept for a folder: its name, or its repo's, in small letters, digits and hyphens."""
    repo = folder.parent.parent.name
    name = repo.rpartition("--")[2] if repo.startswith(_CACHED) else folder.name
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")


def _next(installation: Installation, top: Path, folder: Path, wanted: Wanted, earlier: Sequence[Outcome]) -> Outcome:
    name = concept_name(folder)
    if earlier and earlier[-1].limited:
        words = "the limit above goes for it, too; the same command goes on with it then"
        return Outcome(name, "not tried", words=words, retryable=True, limited=True)
    if len(earlier) >= _UNREACHABLE and all(one.retryable for one in earlier[-_UNREACHABLE:]):
        return Outcome(name, "not tried", words="because those before it failed by what may pass", retryable=True)
    if any(one.name == name for one in earlier):
        return Outcome(name, "failed", words=f"another folder before {folder.name} has this name, too; rename one")
    return isolate(name, partial(_import, installation, top, folder, wanted), partial(_failed, name))


def _import(installation: Installation, top: Path, folder: Path, wanted: Wanted) -> Outcome:
    name, embeds = concept_name(folder), read_embeds(folder)
    if not NAME.fullmatch(name):
        what = f"the name of {folder.name} has no letter or digit that a concept's name may have"
        raise ConceptryError(what, next_step="rename the folder")
    token = token_of(name, embeds, wanted)
    _check_is_of_this_file(top, name, token, folder)
    done, _ = import_embeds(installation, top, name, embeds, wanted)
    words = "" if embeds.token in (None, token) else f"the file says {embeds.token}"
    if not done.existed:
        return Outcome(name, "published", done.version.name, token, words)
    _check_was_made_of(installation, name, done.version, embeds)
    return Outcome(name, "published before", done.version.name, token)


def _check_is_of_this_file(top: Path, name: str, token: str, folder: Path) -> None:
    file = top / spec_path(name)
    if not file.is_file():
        return
    own = load_spec(file.read_text("utf-8"), spec_path(name), read_entries(top)).placeholder_token
    if own != token:
        what = f"concepts/{name} is another concept: its token is {own}, that of {folder} is {token}"
        raise ConceptryError(what, concept=name, next_step=f"import it with `conceptry import {folder} --name NAME`")


def _check_was_made_of(installation: Installation, name: str, version: Version, embeds: Embeds) -> None:
    imported = hub.read_manifest(hub.HubSession(installation.hub), name, version).imported
    if imported is None or imported.get("sha256") != embeds.sha256:
        what = f"{version.name} was not made of {embeds.file}"
        raise ConceptryError(
            what, concept=name, next_step=f"import it with `conceptry import {embeds.file} --name NAME`"
        )


def _failed(name: str, error: ConceptryError) -> Outcome:
    words = one_line(printable(str(error))).removeprefix(f"{name}: ")
    limited = isinstance(error, RateLimitedError)
    return Outcome(name, "failed", words=words, retryable=error.retryable, limited=limited)


def _has_parts(folder: Path) -> bool:
    return any(path.name in _PARTS or path.suffix.lower() in _ENDINGS for path in folder.iterdir())


def _tell(console: Console, place: str, one: Outcome) -> None:
    what = " ".join(filter(None, (one.result, one.version)))
    line = Text.assemble(f"{place} {one.name}: ", (what, _STYLES[one.result]), f" {one.token}".rstrip())
    if one.words:
        line.append(f": {one.words}")
    console.print(line, soft_wrap=True)


def _summarise(console: Console, outcomes: Sequence[Outcome]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for title in ("concept", "result", "version", "token"):
        table.add_column(title, overflow="fold")
    for one in outcomes:
        table.add_row(Text(one.name), Text(one.result, style=_STYLES[one.result]), Text(one.version), Text(one.token))
    console.print()
    console.print(table)
    counts = Counter(one.result for one in outcomes)
    console.print(f"\n{', '.join(f'{counts[result]} {result}' for result in _STYLES if counts[result])}.")
    if counts["failed"] or counts["not tried"]:
        console.print("The same command tries those again, and leaves the published ones as they are.", soft_wrap=True)
    if counts["published"]:
        words = "\nReview the concept.yaml files (a change of a training key would start a training), then:\n"
        console.print(words, soft_wrap=True)
        lines = ("git add concepts", f'git commit -m "Import {counts["published"]} concepts"', "dvc push", "git push")
        console.print("\n".join(lines), markup=False)
