"""`conceptry rollback`: the commit that makes git say an older version of a concept."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Name, Root
from cli.plan import print_plan
from conceptry.actions import Plan
from conceptry.concept import spec_path
from conceptry.errors import ConceptryError, SettingsError, UnknownConceptError
from conceptry.installation import Installation
from conceptry.plan import plan_concept
from conceptry.spec_edit import with_release
from conceptry.version import LiveConcept, Version
from conceptry.version_ref import VersionRef, concept_name
from flows.reconcile import Comparison, current_comparison
from local.console import out
from local.current_setup import open_running
from local.prefect_settings import prefect_of
from tasks import git
from tasks.git.checkout import branch_of, find_top
from tasks.git.commit_file import commit_file, commit_on_branch, has_commit, uncommitted


@dataclass(frozen=True)
class Rollback:
    """A change of one concept.yaml, with the plan for it.

    Attributes:
        name: The concept.
        old: Version that is served now, or None.
        new: Version that is to be served.
        text: The new concept.yaml.
        plan: What the registry will do about this concept.
    """

    name: str
    old: str | None
    new: str
    text: str
    plan: Plan

    @property
    def message(self) -> str:
        """Message of the commit."""
        return f"Roll back {self.name} to {self.new}"


def command(
    name: Name,
    version: Annotated[
        str | None,
        typer.Argument(
            help="vN; without it the newest version before the served one that passed its gate.", metavar="VERSION"
        ),
    ] = None,
    pr: Annotated[
        bool, typer.Option("--pr", help="Make a branch for a pull request, and leave yours as it is.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
    root: Root = None,
) -> None:
    """Write `release: vN` into concept.yaml and commit it, after showing the plan. Run it in your clone.

    Because git says it, the version stays, also when a later one is published. Nothing changes before you push.
    """
    top = find_top(Path.cwd())
    with open_running(root) as installation, prefect_of(root):
        concept_name(name)
        compared = current_comparison(installation)
        check_clone(top, installation, name, compared.plan.revision, pr=pr)
        wanted = rollback(compared, installation, name, version)
        out().print(f"{name}: {wanted.old or 'nothing'} -> [bold]{wanted.new}[/]\n")
        print_plan(wanted.plan, out(), installation.settings.repo)
        confirm(yes=yes)
        data, path = wanted.text.encode(), spec_path(name)
        if pr:
            branch = f"rollback-{name}-{wanted.new}"
            made = commit_on_branch(top, compared.plan.revision, branch, path, data, wanted.message)
            push = f"git push --set-upstream origin {branch}"
        else:
            made, push = commit_file(top, path, data, wanted.message), "git push"
    out().print(
        f"\nCommitted {made[:8]}: {wanted.message}. It takes effect when it is pushed: [bold]{push}[/]\n"
        "To follow new versions again, write `release: latest`.",
        soft_wrap=True,
    )


def rollback(compared: Comparison, installation: Installation, name: str, version: str | None) -> Rollback:
    """Return the change of concept.yaml that serves a version, with its plan.

    Args:
        compared: Desired and live state.
        installation: Whose mirror of git is read.
        name: The concept.
        version: `vN`; None for the newest passed version before the served one.

    Raises:
        UnknownConceptError: the concept is not in git.
        ConceptryError: concept.yaml has mistakes, or there is no such version.
    """
    desired, path = compared.desired.concepts.get(name), spec_path(name)
    text = git.read_file(installation.mirror, compared.plan.revision, path)
    if desired is None or text is None:
        raise UnknownConceptError("is not in git", concept=name, next_step="`conceptry plan` lists all concepts")
    live = compared.live.concepts.get(name) or LiveConcept(name, (), None)
    chosen = VersionRef(name, version).choose(live) if version else before_the_served(live)
    changed = with_release(text.decode("utf-8"), chosen.name, path)
    if desired.spec is not None and desired.spec.release == chosen.name:
        raise ConceptryError(
            f"git already says `release: {chosen.name}`", concept=name, next_step="`conceptry plan` says what is left"
        )
    spec = desired.spec.model_copy(update={"release": chosen.name}) if desired.spec else None
    planned = plan_concept(replace(desired, spec=spec), live, compared.inputs).printable()
    served = live.space.release if live.space else None
    return Rollback(name, served, chosen.name, changed, Plan(compared.plan.revision, (planned,)))


def before_the_served(live: LiveConcept) -> Version:
    """Return the newest version before the served one, or of all if none is served, that passed its gate.

    Raises:
        ConceptryError: there is none.
    """
    served = live.space.release if live.space else None
    number = next((version.number for version in live.versions if version.name == served), None)
    earlier = [one for one in live.versions if one.gate == "passed" and (number is None or one.number < number)]
    if not earlier:
        published = ", ".join(version.name for version in live.versions) or "none"
        what = f"no version before {served} passed its gate" if number is not None else "no version passed its gate"
        raise ConceptryError(
            f"{what}; published: {published}", concept=live.name, next_step="name the version to serve"
        )
    return max(earlier, key=lambda one: one.number)


def check_clone(top: Path, installation: Installation, name: str, revision: str, *, pr: bool) -> None:
    """Check that a commit in this clone would change what the registry reads.

    Raises:
        SettingsError: it would not, or other changes of the file would be committed with it.
    """
    path, branch = spec_path(name), installation.settings.branch
    if pr:
        if not has_commit(top, revision):
            raise SettingsError(f"{top} does not have the commit {revision[:8]}", next_step="run `git fetch`")
        return
    here = branch_of(top)
    if here != branch:
        raise SettingsError(
            f"{top} is on {here}, and the registry reads {branch}",
            next_step=f"run `git switch {branch}`, or use --pr, which makes a branch for a pull request",
        )
    if uncommitted(top, path):
        raise SettingsError(f"{path} has changes that are not committed", next_step="commit or restore them first")
    theirs = git.read_file(installation.mirror, revision, path)
    if theirs is not None and (not (top / path).is_file() or (top / path).read_bytes() != theirs):
        raise SettingsError(
            f"{path} is another one than that of {branch} at the origin", next_step="run `git pull`, or push yours"
        )


def confirm(*, yes: bool) -> None:
    """Ask whether to commit.

    Raises:
        ConceptryError: the user refused, or there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConceptryError("nothing was committed", next_step="confirm with --yes")
    if input("\nCommit this? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ConceptryError("nothing was committed")
