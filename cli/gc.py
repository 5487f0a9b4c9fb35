"""`conceptry gc`: show and delete versions that need not be kept; `tasks/hub/deletion.py` says how."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cli.options import Json, Root, complete_name, print_json
from conceptry.concept import ConceptSpec
from conceptry.desired import Desired, parse_sources
from conceptry.errors import ConceptryError, UnknownConceptError
from conceptry.installation import Installation
from conceptry.planner import choose_release
from conceptry.policy import Keep
from conceptry.retention import PastDesired, reasons_to_keep
from conceptry.version import LiveConcept, Version
from conceptry.version_ref import concept_name
from flows.reconcile import read_policy
from flows.staging_branches import clean_staging
from local.console import out, print_table
from local.current_setup import open_running
from local.prefect_settings import prefect_of
from tasks import git, hub, training
from tasks.git.desired_concepts import read_desired
from tasks.locks import hold, run_id


@dataclass(frozen=True)
class RetentionVerdict:
    """Verdict on a version: `kept` is the reason to keep it; None if it may be deleted."""

    concept: str
    version: Version
    kept: str | None


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Concepts to check; all if left out.", metavar="NAME...", autocompletion=complete_name),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Delete them; without it nothing is changed.")] = False,
    last: Annotated[
        int | None, typer.Option("--last", help="Keep so many of the newest versions.", min=1, max=1000)
    ] = None,
    days: Annotated[
        int | None,
        typer.Option("--days", help="Keep versions whose inputs were in git within so many days.", min=0, max=36500),
    ] = None,
    root: Root = None,
    json: Json = False,
) -> None:
    """Show which versions may be deleted, and with --apply delete them.

    Released versions, the newest ones, and those whose inputs were in git recently are kept; see `keep` in
    conceptry.yaml. Left-overs of trainings that were interrupted go as well: staging branches older than a day, and
    objects in the bucket.
    """
    keep = None
    if last is not None or days is not None:
        default = Keep()
        keep = Keep(last=default.last if last is None else last, days=default.days if days is None else days)
    with open_running(root) as installation, prefect_of(root):
        verdicts = judge(installation, [concept_name(name) for name in names or ()], keep)
        deleted = delete_versions(installation, verdicts, keep) if apply else 0
        concepts = names or {one.concept for one in verdicts} | read_desired(installation).concepts.keys()
        staging = clean_staging(installation, concepts, delete=apply)
        bucket = {}
        settings, kept_elsewhere = installation.settings, installation.vertex is not None
        if not names and (kept_elsewhere or settings.results_bucket or settings.results_folder):
            from flows.vertex_hooks import clean_bucket  # imports Prefect and Google's clients

            age = timedelta(days=Keep().days if days is None else days)
            moment = hub.hub_time(hub.HubSession(installation.hub))
            bucket = clean_bucket(installation, moment - age, delete=apply)
    if json:
        versions = [
            {"concept": one.concept, "version": one.version.name, "created": one.version.created, "kept": one.kept}
            for one in verdicts
        ]
        print_json({"deleted": deleted, "versions": versions, "staging": staging, "bucket": bucket})
        return
    print_verdicts(verdicts, apply=apply)
    verdict = "deleted" if apply else "would be deleted"
    for name, branches in staging.items():
        for branch in branches:
            out().print(f"{name}: {branch} {verdict}", soft_wrap=True)
    for uri, size in bucket.items():
        out().print(f"{uri} {size / 1e6:.1f} MB {verdict}", soft_wrap=True)


def judge(installation: Installation, names: Collection[str] = (), keep: Keep | None = None) -> list[RetentionVerdict]:
    """Return a verdict on every version, sorted by name and number; nothing is changed.

    Args:
        installation: Installation, for git and Hub.
        names: Names of the concepts to check; all if empty.
        keep: Retention policy; None for that of conceptry.yaml.

    Raises:
        ConceptryError: conceptry.yaml has mistakes, or a concept does not exist.
    """
    desired = read_desired(installation)
    policy, error = read_policy(installation, desired.revision)
    if error and keep is None:
        raise ConceptryError(error, next_step="correct conceptry.yaml first: it contains the retention policy")
    session = hub.HubSession(installation.hub)
    live = hub.list_live(session, tuple(desired.concepts))
    unknown = sorted(set(names) - live.concepts.keys())
    if unknown:
        raise UnknownConceptError(
            "has no published version",
            concept=unknown[0],
            next_step="check the name: `conceptry plan` lists all concepts",
        )
    # What an older release made may be of another installation, if git does not have the concept.
    ours = {name for name, there in live.concepts.items() if not there.unsigned or name in desired.concepts}
    selected = [hub.complete(session, live.concepts[name]) for name in sorted(ours & (set(names) or ours))]
    keep, moment = keep or policy.keep, hub.hub_time(session)
    return [verdict for one in selected for verdict in _judge_one(installation, desired, one, keep, moment)]


def _judge_one(
    installation: Installation, desired: Desired, live: LiveConcept, keep: Keep, moment: datetime
) -> list[RetentionVerdict]:
    history = _history(installation, desired.revision, live.name, moment - timedelta(days=keep.days))
    released, bases = _released(desired, live), training.base_models()
    reasons = reasons_to_keep(live.versions, released, history, keep, bases) | _initial(desired, live)
    return [RetentionVerdict(live.name, version, reasons.get(version.name)) for version in live.versions]


def _initial(desired: Desired, live: LiveConcept) -> dict[str, str]:
    """Return a reason to keep each version that trainings start from."""
    starts = {
        name: concept.spec.initial_version for name, concept in desired.concepts.items() if concept.spec is not None
    }
    names = {version.name for version in live.versions}
    return {
        start.version: f"{name} starts from it"
        for name, start in starts.items()
        if start is not None and start.name == live.name and start.version in names
    }


def _released(desired: Desired, live: LiveConcept) -> set[str]:
    """Return the names of the version that the Space serves, that main describes, and that git desires."""
    names = {live.space.release if live.space else None, live.main.release if live.main else None}
    concept = desired.concepts.get(live.name)
    if concept is not None and concept.spec is not None:
        chosen = choose_release(concept.spec, live.versions, None)
        names.add(chosen.name if chosen else None)
    return {name for name in names if name}


def _history(installation: Installation, revision: str, name: str, since: datetime) -> list[PastDesired]:
    """Return the desired states of a concept since a moment, and the one at that moment."""
    history = []
    for edit in git.edits(installation.mirror, revision, name, since):
        bases = git.read_bases(installation.mirror, edit.commit)
        concept = parse_sources([edit.source], bases)[name] if edit.source else None
        if concept and isinstance(concept.spec, ConceptSpec) and concept.dvc_md5:
            history.append(PastDesired(edit.when, concept.spec, concept.dvc_md5))
    return history


def delete_versions(
    installation: Installation, verdicts: Collection[RetentionVerdict], keep: Keep | None = None
) -> int:
    """Delete the versions that are not kept, and return their number; finish deletions that were interrupted.

    Each concept is judged again while its lock is held, because a release may have happened since.

    Args:
        installation: Installation, for git and Hub.
        verdicts: What `judge` returned; other versions are not deleted.
        keep: Retention policy, as for `judge`.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached; the next call deletes the rest.
    """
    session, deleted = hub.HubSession(installation.hub), 0
    for name in sorted({verdict.concept for verdict in verdicts}):
        chosen = {one.version.fingerprint for one in verdicts if one.concept == name and one.kept is None}
        with hold(installation.work.concept_lock(name), run_id()):
            versions: list[Version] = []
            if chosen:
                desired = read_desired(installation)
                policy = keep or read_policy(installation, desired.revision)[0].keep
                now = _judge_one(installation, desired, hub.read_live(session, name), policy, hub.hub_time(session))
                versions = [one.version for one in now if one.kept is None and one.version.fingerprint in chosen]
            deleted += len(hub.delete_versions(session, name, versions))
    return deleted


def print_verdicts(verdicts: list[RetentionVerdict], *, apply: bool) -> None:
    """Print one row per version, and the number that was or would be deleted."""
    rows = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for title in ("version", "made", "what", "why"):
        rows.add_column(title, no_wrap=title != "why")
    verdict = "deleted" if apply else "would be deleted"
    for one in verdicts:
        what = Text("kept", style="dim") if one.kept else Text(verdict, style="bold red")
        why = one.kept or "not released, not among the newest, and its inputs were not in git recently"
        rows.add_row(f"{one.concept}@{one.version.name}", one.version.created[:10], what, why)
    console = out()
    print_table(console, rows)
    count = sum(one.kept is None for one in verdicts)
    if not count:
        console.print("\nNo version may be deleted.")
    elif apply:
        console.print(f"\n{count} versions deleted.")
    else:
        console.print(
            f"\n{count} versions would be deleted. To delete them: [bold]conceptry gc --apply[/]", soft_wrap=True
        )
