"""Branches, tags, the log of a revision, super-squash."""

from __future__ import annotations

import html
from itertools import islice
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import BaseModel
from pygit2.enums import ObjectType
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulators.hub import commits, git_objects, webhook_events
from emulators.hub.commits import Author
from emulators.hub.context import Call, endpoint
from emulators.hub.http_errors import bad_request, forbidden, revision_not_found
from emulators.hub.names import check_ref_name, is_ref
from emulators.hub.repo_listing import timestamp
from emulators.hub.storage import MAIN
from emulators.hub.url_patterns import REPO
from emulators.hub.webhook_events import RefChange

_COMMITS_PAGE = 50


class BranchRequest(BaseModel):
    """Body of POST branch/NAME."""

    startingPoint: str | None = None  # noqa: N815 - the protocol's name
    emptyBranch: bool = False  # noqa: N815


class TagRequest(BaseModel):
    """Body of POST tag/REVISION."""

    tag: str
    message: str | None = None


class SquashRequest(BaseModel):
    """Body of POST super-squash/BRANCH."""

    message: str | None = None


def refs(call: Call) -> Response:
    """Answer GET refs: branches, tags and, with `include_prs`, refs of pull requests."""
    git = call.repo().git()
    found: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": []}
    groups = {"refs/heads/": "branches", "refs/tags/": "tags", "refs/convert/": "converts"}
    if call.flag("include_prs"):
        found["pullRequests"] = []
        groups["refs/pr/"] = "pullRequests"
    for ref in git.references:
        for prefix, group in groups.items():
            if ref.startswith(prefix):
                name = ref.removeprefix("refs/pr/" if group == "pullRequests" else prefix)
                found[group].append({"name": name, "ref": ref, "targetCommit": git_objects.peel(git, ref)})
    return JSONResponse(found)


def create_branch(call: Call) -> Response:
    """Answer POST branch/NAME: create a branch at a revision, main by default."""
    payload, repo = call.json(BranchRequest), call.repo(write=True)
    branch = check_ref_name(call.params["name_of_ref"], "branch")
    with repo.lock() as git:
        if payload.emptyBranch:
            tree = commits.build_tree(git, None, [])
            target = commits.commit_tree(git, tree, [], message="initial commit", author=call.author())
        else:
            target = git_objects.resolve(git, payload.startingPoint or "main")
        commits.create_ref(git, f"refs/heads/{branch}", target)
    webhook_events.content_changed(call, repo, RefChange(f"refs/heads/{branch}", None, target))
    return JSONResponse({"success": True})


def delete_branch(call: Call) -> Response:
    """Answer DELETE branch/NAME; main is protected."""
    repo, branch = call.repo(write=True), call.params["name_of_ref"]
    ref = f"refs/heads/{branch}"
    if ref == MAIN:
        raise forbidden(f"Cannot delete {ref}")
    with repo.lock() as git:
        if not is_ref(ref) or ref not in git.references:
            raise revision_not_found(branch)
        old = git_objects.peel(git, ref)
        commits.delete_ref(git, ref)
    webhook_events.content_changed(call, repo, RefChange(ref, old, None))
    return JSONResponse({"success": True})


def create_tag(call: Call) -> Response:
    """Answer POST tag/REVISION: create a tag, annotated if it has a message."""
    payload, repo = call.json(TagRequest), call.repo(write=True)
    with repo.lock() as git:
        target = commit = git_objects.resolve(git, call.params["name_of_ref"])
        tag = check_ref_name(payload.tag, "tag")
        ref = f"refs/tags/{tag}"
        if payload.message and ref not in git.references:
            target = _annotated_tag(git, target, payload, call.author())
        commits.create_ref(git, ref, target)
    webhook_events.content_changed(call, repo, RefChange(ref, None, commit))
    return JSONResponse({"success": True})


def _annotated_tag(git: Any, target: str, payload: TagRequest, author: Author) -> str:
    # pygit2's create_tag would also create the ref, without removing stale locks.
    who = author.signature()
    head = f"object {target}\ntype commit\ntag {payload.tag}\ntagger {who.name} <{who.email}> {who.time} +0000\n\n"
    message = (payload.message or "").replace("\0", "")
    return str(git.odb.write(ObjectType.TAG, f"{head}{message}\n".encode()))


def delete_tag(call: Call) -> Response:
    """Answer DELETE tag/NAME."""
    repo, tag = call.repo(write=True), call.params["name_of_ref"]
    ref = f"refs/tags/{tag}"
    with repo.lock() as git:
        if not is_ref(ref) or ref not in git.references:
            raise revision_not_found(tag)
        old = git_objects.peel(git, ref)
        commits.delete_ref(git, ref)
    webhook_events.content_changed(call, repo, RefChange(ref, old, None))
    return JSONResponse({"success": True})


def log(call: Call) -> Response:
    """Answer GET commits/REVISION: one page of the log, newest first."""
    repo, page = call.repo(), call.query.get("p", "0")
    if not page.isdecimal() or len(page) > 9:
        raise bad_request("p is the number of a page, from 0")
    git = repo.git()
    start = int(page) * _COMMITS_PAGE
    commit = git_objects.resolve(git, call.params["revision"])
    found = list(islice(git_objects.log(git, commit), start, start + _COMMITS_PAGE + 1))
    formatted = "formatted" in [*call.request.query_params.getlist("expand[]"), call.query.get("expand")]
    described = []
    for entry in found[:_COMMITS_PAGE]:
        one: dict[str, Any] = {"id": entry.oid, "title": entry.title, "message": entry.body}
        one |= {"date": timestamp(entry.date), "authors": [{"user": entry.author}]}
        if formatted:
            one["formatted"] = {"title": html.escape(entry.title), "message": html.escape(entry.body)}
        described.append(one)
    headers = {}
    if len(found) > _COMMITS_PAGE:
        again = [(k, v) for k, v in call.request.query_params.multi_items() if k != "p"]
        # The next page names the commit, so that all pages show one history even if the branch moves.
        address = f"{call.base}/api/{repo.id.kind.value}/{repo.id}/commits/{quote(commit)}"
        headers["Link"] = f'<{address}?{urlencode([*again, ("p", int(page) + 1)])}>; rel="next"'
    return JSONResponse(described, headers=headers)


def super_squash(call: Call) -> Response:
    """Answer POST super-squash/BRANCH: replace the history of a branch by one commit."""
    payload, repo, branch = call.json(SquashRequest), call.repo(write=True), call.params["revision"]
    ref = branch if branch.startswith("refs/") else f"refs/heads/{branch}"
    with repo.lock() as git:
        if not is_ref(ref) or ref not in git.references:
            raise revision_not_found(branch)
        old = git_objects.peel(git, ref)
        message = payload.message or f"Super-squash branch '{branch}'"
        new = commits.commit_tree(git, str(git[old].tree.id), [], message=message, author=call.author())
        commits.move_ref(git, ref, new)
    webhook_events.content_changed(call, repo, RefChange(ref, old, new))
    return JSONResponse({"success": True})


_BRANCH, _TAG = f"{REPO}/branch/{{name_of_ref:part}}", f"{REPO}/tag/{{name_of_ref:part}}"

ROUTES = [
    Route(f"{REPO}/refs", endpoint(refs)),
    Route(_BRANCH, endpoint(create_branch), methods=["POST"]),
    Route(_BRANCH, endpoint(delete_branch), methods=["DELETE"]),
    Route(_TAG, endpoint(create_tag), methods=["POST"]),
    Route(_TAG, endpoint(delete_tag), methods=["DELETE"]),
    Route(f"{REPO}/commits/{{revision:part}}", endpoint(log)),
    Route(f"{REPO}/super-squash/{{revision:part}}", endpoint(super_squash), methods=["POST"]),
]
