"""Discussions and pull requests: opened, listed, commented, renamed, closed and merged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulators.hub import commits, discussions, history, news, render
from emulators.hub.access import Call, endpoint
from emulators.hub.addresses import REPO
from emulators.hub.discussions import Discussion, Event
from emulators.hub.errors import HubError, bad_request, conflict, forbidden
from emulators.hub.listing import timestamp
from emulators.hub.news import RefChange
from emulators.hub.storage import MAIN, Repo

_PAGE = 50
_MAX_DIFF = 1 << 20


class OpenRequest(BaseModel):
    """POST discussions."""

    title: str = Field(min_length=3, max_length=200)
    description: str = Field(default="", max_length=65_536)
    pullRequest: bool = False  # noqa: N815 - the protocol's name


class CommentRequest(BaseModel):
    """POST comment."""

    comment: str = Field(min_length=1, max_length=65_536)


class EditRequest(BaseModel):
    """POST comment/ID/edit."""

    content: str = Field(min_length=1, max_length=65_536)


class TitleRequest(BaseModel):
    """POST title."""

    title: str = Field(min_length=3, max_length=200)


class StatusRequest(BaseModel):
    """POST status."""

    status: Literal["open", "closed"]
    comment: str | None = Field(default=None, max_length=65_536)


class MergeRequest(BaseModel):
    """POST merge."""

    comment: str | None = Field(default=None, max_length=65_536)


def describe_event(event: Event) -> dict[str, Any]:
    """An event as the client reads it; a comment's HTML is made and cleaned here."""
    data = event.data
    if event.type == "comment":
        latest = data["latest"]
        data = data | {"latest": latest | {"html": render.comment_html(latest["raw"])}}
    described = {"id": event.id, "type": event.type, "createdAt": timestamp(event.created_at)}
    return described | {"author": {"name": event.author}, "data": data}


def describe(repo: Repo, discussion: Discussion) -> dict[str, Any]:
    """A discussion as listings show it."""
    return {
        "num": discussion.num,
        "title": discussion.title,
        "status": discussion.status,
        "isPullRequest": discussion.is_pull_request,
        "author": {"name": discussion.author},
        "createdAt": timestamp(discussion.created_at),
        "numComments": sum(1 for e in discussion.events if e.type == "comment"),
        "pinned": False,
        "repo": {"name": str(repo.id), "type": repo.id.kind.singular},
    }


def list_all(call: Call) -> Response:
    """GET discussions: a page, newest first."""
    repo, query = call.repo(), call.query
    page = query.get("p", "0")
    if not page.isdecimal() or len(page) > 9:
        raise bad_request("p is the number of a page, from 0")
    found = [d for d in reversed(discussions.read(repo)) if _matches(d, query)]
    start = int(page) * _PAGE
    shown = [describe(repo, d) for d in found[start : start + _PAGE]]
    return JSONResponse({"discussions": shown, "count": len(found), "start": start})


def _matches(discussion: Discussion, query: dict[str, str]) -> bool:
    kind = {"pull_request": True, "discussion": False}.get(query.get("type", ""), discussion.is_pull_request)
    is_open = discussion.status in ("open", "draft")
    status = {"open": is_open, "closed": not is_open}.get(query.get("status", ""), True)
    return discussion.is_pull_request == kind and status and query.get("author", discussion.author) == discussion.author


def create(call: Call) -> Response:
    """POST discussions: a discussion, or a pull request without commits yet."""
    asked, repo, author = call.json(OpenRequest), call.repo(), call.writer().name
    with repo.lock() as git, discussions.changing(repo) as found:
        made = open_discussion(found, git, asked.title, author, asked.description, pull=asked.pullRequest)
        if made.is_pull_request:
            made.status = "draft"
            commits.create_ref(git, made.ref, history.resolve(git, MAIN))
    _tell(call, repo, made, "create")
    return JSONResponse(describe(repo, made) | {"url": f"{call.base}/{repo.id.path}/discussions/{made.num}"})


def open_discussion(found: list[Discussion], git: Any, title: str, author: str, text: str, *, pull: bool) -> Discussion:
    """Add a discussion with its first comment. A pull request's ref is the caller's to make."""
    number = discussions.next_number(found, git)
    made = Discussion(num=number, title=title.strip(), author=author, is_pull_request=pull)
    made.add(discussions.comment(author, text))
    found.append(made)
    return made


def show(call: Call) -> Response:
    """GET discussions/NUM, with everything that happened in it."""
    repo = call.repo()
    discussion = discussions.find(discussions.read(repo), _number(call))
    described = describe(repo, discussion) | {"events": [describe_event(e) for e in discussion.events]}
    if discussion.is_pull_request:
        git = repo.git()
        described |= {"changes": {"base": MAIN}, "filesWithConflicts": []}
        if discussion.merge_commit:
            described["changes"]["mergeCommitId"] = discussion.merge_commit
        elif discussion.ref in git.references:
            described["filesWithConflicts"] = _merged(git, discussion)[1]
        if call.flag("diff"):
            described["diff"] = diff_of(git, discussion)
    return JSONResponse(described)


def _number(call: Call) -> int:
    text = call.params["num"]
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise HubError(404, "Discussion not found")
    return int(text)


def diff_of(git: Any, discussion: Discussion) -> str:
    """What a pull request changes, as `git diff` writes it."""
    if discussion.ref not in git.references:
        return ""
    head = history.peel(git, discussion.ref)
    base = git.merge_base(history.peel(git, MAIN), head)
    if base is None:
        return ""
    return str(git[base].tree.diff_to_tree(git[head].tree).patch or "")[:_MAX_DIFF]


def _merged(git: Any, discussion: Discussion) -> tuple[Any, list[str]]:
    """The index of main with a pull request merged into it, and the paths that both have changed."""
    main, head = history.peel(git, MAIN), history.peel(git, discussion.ref)
    index = git.merge_commits(git[main], git[head])
    if index.conflicts is None:
        return index, []
    names = (side.path for sides in index.conflicts for side in sides if side is not None)
    return index, sorted(dict.fromkeys(names))


@contextmanager
def _changing(call: Call, *, owners_only: bool = False) -> Iterator[tuple[Repo, Any, Discussion, str]]:
    """Repo, git and the discussion of the address, to be changed by somebody who may."""
    repo, author = call.repo(), call.writer()
    with repo.lock() as git, discussions.changing(repo) as found:
        discussion = discussions.find(found, _number(call))
        owner = author.namespace(repo.id.owner)
        if owners_only and not owner and author.name != discussion.author:
            raise forbidden("Only its author and the owners of the repo may do that")
        yield repo, git, discussion, author.name


def comment(call: Call) -> Response:
    """POST comment."""
    asked = call.json(CommentRequest)
    with _changing(call) as (repo, _, discussion, author):
        event = discussion.add(discussions.comment(author, asked.comment))
    _tell(call, repo, discussion, "create", comment=event)
    return JSONResponse({"newMessage": describe_event(event)})


def edit(call: Call) -> Response:
    """POST comment/ID/edit: for its author."""
    asked = call.json(EditRequest)
    with _changing(call) as (_, _, discussion, author):
        event = discussion.event(call.params["comment"])
        if event.author != author:
            raise forbidden("Only its author may edit a comment")
        if event.data["hidden"]:
            raise bad_request("This comment was hidden")
        discussions.edit(event, author, asked.content)
    return JSONResponse({"updatedComment": describe_event(event)})


def hide(call: Call) -> Response:
    """POST comment/ID/hide: for its author and the repo's owners."""
    with _changing(call) as (repo, _, discussion, author):
        event = discussion.event(call.params["comment"])
        if event.author != author and not call.writer().namespace(repo.id.owner):
            raise forbidden("Only its author and the owners of the repo may hide a comment")
        discussions.hide(event, author)
    return JSONResponse({"updatedComment": describe_event(event)})


def rename(call: Call) -> Response:
    """POST title."""
    asked = call.json(TitleRequest)
    with _changing(call, owners_only=True) as (repo, _, discussion, author):
        data = {"from": discussion.title, "to": asked.title}
        event = discussion.add(Event(type="title-change", author=author, data=data))
        discussion.title = asked.title
    _tell(call, repo, discussion, "update")
    return JSONResponse({"newTitle": describe_event(event)})


def change_status(call: Call) -> Response:
    """POST status: open or closed."""
    asked = call.json(StatusRequest)
    with _changing(call, owners_only=True) as (repo, _, discussion, author):
        if discussion.status == "merged":
            raise bad_request("This pull request was merged")
        if asked.comment:
            discussion.add(discussions.comment(author, asked.comment))
        event = discussion.add(Event(type="status-change", author=author, data={"status": asked.status}))
        discussion.status = asked.status
    _tell(call, repo, discussion, "update")
    return JSONResponse({"newStatus": describe_event(event)})


def merge(call: Call) -> Response:
    """POST merge: the pull request's changes become one commit on main."""
    asked, repo = call.json(MergeRequest), call.repo(write=True)
    with _changing(call) as (_, git, discussion, author):
        if not discussion.is_pull_request or discussion.status != "open":
            raise bad_request(f"#{discussion.num} is no open pull request: it is {discussion.status}")
        index, conflicting = _merged(git, discussion)
        if conflicting:
            raise conflict(f"Both have changed {', '.join(conflicting[:20])}")
        main = history.peel(git, MAIN)
        title = f"{discussion.title} (#{discussion.num})"
        made = commits.commit_tree(git, str(index.write_tree(git)), [main], title, call.author())
        commits.move_ref(git, MAIN, made)
        if asked.comment:
            discussion.add(discussions.comment(author, asked.comment))
        discussion.add(Event(type="status-change", author=author, data={"status": "merged"}))
        discussion.status, discussion.merge_commit = "merged", made
    news.content_changed(call, repo, RefChange(MAIN, main, made))
    call.hub.look_at(repo)
    _tell(call, repo, discussion, "update")
    return JSONResponse({"success": True, "mergeCommitId": made})


def _tell(
    call: Call, repo: Repo, discussion: Discussion, action: Literal["create", "update"], *, comment: Event | None = None
) -> None:
    page = f"{call.base}/{repo.id.path}/discussions/{discussion.num}"
    told: dict[str, Any] = {
        "id": f"{repo.settings.uid}-{discussion.num}",
        "num": discussion.num,
        "title": discussion.title,
        "url": {"web": page, "api": f"{call.base}/api/{repo.id.kind.value}/{repo.id}/discussions/{discussion.num}"},
        "author": {"id": discussion.author},
        "isPullRequest": discussion.is_pull_request,
        "status": discussion.status,
    }
    if discussion.is_pull_request:
        told["changes"] = {"base": MAIN, "mergeCommitId": discussion.merge_commit}
    if comment is None:
        news.tell(call, repo, action, "discussion", discussion=told)
        return
    said = {"id": comment.id, "author": {"id": comment.author}, "hidden": False}
    said |= {"content": comment.data["latest"]["raw"], "url": {"web": f"{page}#{comment.id}"}}
    news.tell(call, repo, action, "discussion.comment", discussion=told, comment=said)


_ALL = f"{REPO}/discussions"
_ONE = f"{_ALL}/{{num:part}}"

ROUTES = [
    Route(_ALL, endpoint(list_all)),
    Route(_ALL, endpoint(create), methods=["POST"]),
    Route(_ONE, endpoint(show)),
    Route(f"{_ONE}/comment", endpoint(comment), methods=["POST"]),
    Route(f"{_ONE}/comment/{{comment:part}}/edit", endpoint(edit), methods=["POST"]),
    Route(f"{_ONE}/comment/{{comment:part}}/hide", endpoint(hide), methods=["POST"]),
    Route(f"{_ONE}/title", endpoint(rename), methods=["POST"]),
    Route(f"{_ONE}/status", endpoint(change_status), methods=["POST"]),
    Route(f"{_ONE}/merge", endpoint(merge), methods=["POST"]),
]
