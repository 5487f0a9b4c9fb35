"""Telling webhooks what happened to a repo, in the form of the Hub's payloads (version 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emulators.hub.context import Call
from emulators.hub.listing import subdomain
from emulators.hub.names import RepoId
from emulators.hub.storage import Repo
from emulators.hub.webhooks import Action


@dataclass(frozen=True)
class RefChange:
    """A ref that moved, appeared (no old commit) or went (no new one)."""

    ref: str
    old: str | None = None
    new: str | None = None


def content_changed(call: Call, repo: Repo, *refs: RefChange) -> None:
    """Commits, branches or tags: everything that is not done by the repo's settings."""
    updated = [{"ref": r.ref, "oldSha": r.old, "newSha": r.new} for r in refs]
    tell(call, repo, "update", "repo.content", updatedRefs=updated)


def tell(call: Call, repo: Repo, action: Action, scope: str, **more: Any) -> None:
    """Write a message to each webhook that listens to the repo and may see it; delivered soon, by the postman."""
    domain = scope.split(".", maxsplit=1)[0]
    for hook in call.hub.hooks.wanting(domain, repo.id.kind, repo.id.owner, repo.id.name):
        owner = call.hub.accounts.named(hook.owner)
        if owner is not None and call.hub.may_read(owner, repo):
            payload = {"event": {"action": action, "scope": scope}, "repo": describe(call, repo), **more}
            call.hub.hooks.post(hook, payload)


def describe(call: Call, repo: Repo) -> dict[str, Any]:
    """The repo as payloads show it."""
    described: dict[str, Any] = {
        "type": repo.id.kind.singular,
        "name": str(repo.id),
        "id": repo.settings.uid,
        "private": repo.settings.private,
        "url": {"web": f"{call.base}/{repo.id.path}", "api": f"{call.base}/api/{repo.id.kind.value}/{repo.id}"},
        "owner": {"id": repo.id.owner},
    }
    if head := repo.head():
        described["headSha"] = head
    if repo.settings.space is not None:
        described["subdomain"] = subdomain(repo.id)
    return described


def moved_to(target: RepoId) -> dict[str, Any]:
    """The new name of a repo, as payloads show it."""
    return {"name": str(target), "owner": {"id": target.owner}}
