"""Events of repos for webhooks, in the form of the Hub's payloads (version 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emulators.hub.context import Call
from emulators.hub.names import RepoId
from emulators.hub.repo_listing import subdomain
from emulators.hub.storage import Repo
from emulators.hub.webhooks import Action


@dataclass(frozen=True)
class RefChange:
    """A ref that moved, was created (no old commit) or was deleted (no new one)."""

    ref: str
    old: str | None = None
    new: str | None = None


def content_changed(call: Call, repo: Repo, *refs: RefChange) -> None:
    """Emit a change of commits, branches or tags."""
    updated = [{"ref": r.ref, "oldSha": r.old, "newSha": r.new} for r in refs]
    emit(call, repo, "update", "repo.content", updatedRefs=updated)


def emit(call: Call, repo: Repo, action: Action, scope: str, **more: Any) -> None:
    """Enqueue an event for each webhook that listens to the repo and whose owner may see it."""
    domain = scope.split(".", maxsplit=1)[0]
    for hook in call.hub.webhooks.listening_to(domain, repo.id.kind, repo.id.owner, repo.id.name):
        owner = call.hub.accounts.named(hook.owner)
        if owner is not None and call.hub.may_read(owner, repo):
            payload = {"event": {"action": action, "scope": scope}, "repo": describe(call, repo), **more}
            call.hub.webhooks.enqueue(hook, payload)


def describe(call: Call, repo: Repo) -> dict[str, Any]:
    """Describe a repo for a payload."""
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
    """Describe the new name of a repo for a payload."""
    return {"name": str(target), "owner": {"id": target.owner}}
