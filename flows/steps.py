"""The I/O functions that a reconcile depends on, injected so that it runs directly or as Prefect tasks.

`flows/prefect_steps.py` has the tasks: commands that only read need no Prefect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from conceptry.concept import ConceptSpec
from conceptry.desired import Desired
from conceptry.installation import Installation
from conceptry.version import Drift, Live, LiveConcept, Thresholds, Version
from flows.drift import find_drift
from tasks import hub
from tasks.dvc.desired_images import list_desired_images
from tasks.git.desired_concepts import read_desired
from tasks.space.render import render_space


class ReadGit(Protocol):
    """Function that reads the concepts at the head of the branch, or at a revision; all of them, or one."""

    def __call__(self, installation: Installation, revision: str | None = None, only: str | None = None) -> Desired:
        """Return the desired state."""


class PushSpace(Protocol):
    """Function that pushes a rendered Space and returns its address."""

    def __call__(
        self,
        session: hub.HubSession,
        name: str,
        space: hub.RenderedSpace,
        spec: ConceptSpec,
        *,
        token: SecretStr | None,
    ) -> str:
        """Push the Space."""
        ...


@dataclass(frozen=True)
class Steps:
    """I/O functions of a reconcile.

    Attributes:
        read_git: Reads the concepts in git.
        list_images: Fills in the images of the concepts.
        list_hub: Reads the live state of all concepts, from paged listings; takes the names of those in git.
        read_hub: Reads the live state of one concept, from its own repos.
        find_drift: Inspects single repos for manual changes.
        repair: Resets branches and tags; returns what was repaired, and the versions afterwards.
        update_card: Writes card and index to main of the model repo.
        judge: Judges versions again by other thresholds; returns all versions afterwards.
        render: Renders a Space into a folder.
        push: Pushes a rendered Space; returns its address.
        pause: Pauses a Space, which then serves no version.
        hide: Makes a concept's model repo and Space private.
        emit: Emits an event about a concept.
    """

    read_git: ReadGit
    list_images: Callable[[Installation, Desired, Collection[str]], Desired]
    list_hub: Callable[..., Live]
    read_hub: Callable[[hub.HubSession, str], LiveConcept]
    find_drift: Callable[[Installation, hub.HubSession, Desired, Live], Live]
    repair: Callable[[hub.HubSession, str, Sequence[Version]], tuple[tuple[Drift, ...], tuple[Version, ...]]]
    update_card: Callable[[hub.HubSession, str, str | None], tuple[Version, ...]]
    judge: Callable[[hub.HubSession, str, Mapping[int, Thresholds]], tuple[Version, ...]]
    render: Callable[[Path, ConceptSpec, Mapping[str, Any]], Path]
    push: PushSpace
    pause: Callable[[hub.HubSession, str], None]
    hide: Callable[[hub.HubSession, str], None]
    emit: Callable[..., None]


DIRECT = Steps(
    read_git=read_desired,
    list_images=list_desired_images,
    list_hub=hub.list_live,
    read_hub=hub.read_live,
    find_drift=find_drift,
    repair=hub.repair_refs,
    update_card=hub.update_main,
    judge=hub.judge_again,
    render=render_space,
    push=hub.push_space,
    pause=hub.pause_space,
    hide=hub.hide_repos,
    emit=lambda *_, **__: None,
)
"""Plain functions without events, for commands; of many concepts no single repo is inspected."""

LOOK = replace(DIRECT, find_drift=partial(find_drift, in_turn=True))
"""Plain functions for the watcher's looks, which inspect as many repos as a watch."""
