"""Pages of repos: lists, cards with their pictures, Spaces, files and commits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from emulators.hub import git_objects, sessions
from emulators.hub.apps.app_logs import lines_of
from emulators.hub.apps.control_dir import Stage
from emulators.hub.context import Call, endpoint
from emulators.hub.git_objects import Entry, LogEntry
from emulators.hub.http_errors import HubError, entry_not_found
from emulators.hub.names import Kind, check_repo_name
from emulators.hub.pages import page_html
from emulators.hub.repo_listing import Listed, Query, Summary, select, summarize
from emulators.hub.routes.inference_endpoints import describe as describe_endpoint
from emulators.hub.routes.spaces import runtime, status_of
from emulators.hub.storage import Repo
from emulators.hub.url_patterns import REPO_FILES

_MAX_SHOWN = 512 * 1024
_COMMITS_SHOWN = 50
_LOG_LINES = 60
_TRANSITIONAL = (Stage.BUILDING, Stage.RUNNING_BUILDING, Stage.APP_STARTING)
_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg")


@dataclass(frozen=True)
class Tile:
    """A repo of the front page."""

    item: Listed
    title: str
    emoji: str
    cover: str | None
    stage: str | None = None


@dataclass(frozen=True)
class Branch:
    """A branch or tag in the sidebar; `verdict` is that of the card, where HubConfig says how to find it."""

    name: str
    commit: LogEntry
    verdict: str | None = None


def home(call: Call) -> Response:
    """Answer GET /: all repos, one owner's, or those whose names contain a text."""
    owner, search = call.params.get("owner"), call.query.get("search", "")[:100]
    if owner is not None:
        check_repo_name(owner)
    groups = {}
    for kind in (Kind.MODEL, Kind.SPACE, Kind.DATASET):
        repos = [r for r in call.hub.repos.all(kind, owner) if call.hub.may_read(call.account, r)]
        query = Query(search=search, sort="lastModified", descending=True, limit=200)
        tiles = [_tile(call, item) for item in select(repos, call.hub.summaries, query).items]
        if tiles:
            groups[kind] = tiles
    if owner is not None and not groups:
        raise entry_not_found(owner)
    return page_html.page(
        "index.html",
        account=call.account,
        groups=groups,
        owner=owner,
        search=search,
        next="/",
        empty=call.hub.config.pages.empty,
    )


def _tile(call: Call, item: Listed) -> Tile:
    card, sha = item.summary.card, item.summary.sha
    files = {entry.path for entry in item.summary.files}
    text = (git_objects.read(item.repo.git(), sha, "README.md") or b"").decode("utf-8", "replace") if sha else ""
    return Tile(
        item,
        title=_line(card.get("title")) or item.repo.id.name,
        emoji=_line(card.get("emoji"), 8) or ("🚀" if item.repo.settings.space else "🧩"),
        cover=page_html.cover(
            text, files, repo_path=item.repo.id.path, revision=sha, default=call.hub.config.pages.picture
        ),
        stage=status_of(call.hub, item.repo, item.summary).stage if item.repo.settings.space else None,
    )


def _line(value: Any, limit: int = 120) -> str:
    return value[:limit] if isinstance(value, str) else ""


def repo_page(call: Call) -> Response:
    """Answer with a repo's card, branches and files, at main or at another revision."""
    repo, revision = call.repo(), call.params.get("revision", "main")
    git = repo.git()
    summary = summarize(repo, git_objects.resolve(git, revision))
    text = (git_objects.read(git, summary.sha, "README.md") or b"").decode("utf-8", "replace")
    # Links of the card name the commit, so that they stay valid when the branch moves.
    card = page_html.card_html(text, repo.id.path, summary.sha)
    values = frame(call, repo, revision, summary) | {"card": card, "summary": summary}
    verdicts = call.hub.config.pages.verdicts
    known = verdicts.of(summary.card) if verdicts else {}
    values |= {"branches": branches(git, "refs/heads/", known), "tags": branches(git, "refs/tags/")}
    values |= {"entries": list(git_objects.walk(git, summary.sha)), "folder": ""}
    values["metadata"] = summary.card
    values |= _space(call, repo, summary) if repo.settings.space else {"runtime": None}
    values["endpoints"] = _endpoints(call, repo)
    return page_html.page("repo.html", **values)


def _space(call: Call, repo: Repo, summary: Summary) -> dict[str, Any]:
    """Return the values of a Space's state; only accounts that may change it get its logs."""
    state, control, uid = runtime(call, repo, summary), call.hub.control, repo.settings.uid
    values: dict[str, Any] = {"runtime": state, "refresh": state["stage"] in _TRANSITIONAL, "logs": {}}
    if call.account is not None and call.account.is_member(repo.id.owner) and control.is_supervised():
        logs = {"Build log": control.log(uid, "build"), "Log": control.log(uid, "run")}
        values["logs"] = {title: _tail(path) for title, path in logs.items()}
    return values


def _tail(path: Path) -> str:
    lines = [f"{time[11:19]}  {text}" for time, text in lines_of(path)]
    return "\n".join(lines[-_LOG_LINES:])


def _endpoints(call: Call, repo: Repo) -> list[dict[str, Any]]:
    """Describe the endpoints that serve this repo and that the account may see."""
    account = call.account
    if account is None or repo.id.kind is not Kind.MODEL:
        return []
    spaces = [account.name, *(o.name for o in account.organizations)]
    found = [e for name in spaces for e in call.hub.endpoints.all(name)]
    return [describe_endpoint(call, e) for e in found if e.body.model.repository.lower() == str(repo.id).lower()]


def folder_page(call: Call) -> Response:
    """Answer with the entries of one folder."""
    path = call.params["path"].strip("/")
    if not path:
        return repo_page(call)
    repo, revision = call.repo(), call.params["revision"]
    git = repo.git()
    commit = git_objects.resolve(git, revision)
    entries = list(git_objects.walk(git, commit, path))
    return page_html.page("folder.html", **frame(call, repo, revision), entries=entries, folder=path)


def file_page(call: Call) -> Response:
    """Answer with one file: texts and pictures are shown, others are offered for download."""
    repo, revision, path = call.repo(), call.params["revision"], call.params["path"]
    git = repo.git()
    commit = git_objects.resolve(git, revision)
    entry = git_objects.find(git, commit, path)
    if entry is not None and entry.folder:
        return folder_page(call)
    entry = git_objects.find_file(git, commit, path)
    call.require_file_access(repo)
    is_image = entry.path.lower().endswith(_IMAGES)
    values = frame(call, repo, revision) | {"entry": entry, "is_image": is_image, "commit": commit}
    return page_html.page("file.html", **values, text=None if is_image else _text(git, entry))


def _text(git: Any, entry: Entry) -> str | None:
    if entry.lfs or entry.size > _MAX_SHOWN:
        return None
    try:
        text = bytes(git[entry.oid].data).decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def commits_page(call: Call) -> Response:
    """Answer with the latest commits of a revision."""
    repo, revision = call.repo(), call.params["revision"]
    git = repo.git()
    entries = list(islice(git_objects.log(git, git_objects.resolve(git, revision)), _COMMITS_SHOWN + 1))
    more = len(entries) > _COMMITS_SHOWN
    values = frame(call, repo, revision) | {"commits": entries[:_COMMITS_SHOWN], "more": more}
    return page_html.page("commits.html", **values)


def commit_page(call: Call) -> Response:
    """Answer with the files that one commit changed."""
    repo, revision = call.repo(), call.params["revision"]
    git = repo.git()
    commit = git_objects.resolve(git, revision)
    entry, changes = git_objects.log_entry(git[commit]), git_objects.changes(git, commit)
    return page_html.page("commit.html", **frame(call, repo, commit), entry=entry, changes=changes)


def frame(call: Call, repo: Repo, revision: str, summary: Summary | None = None) -> dict[str, Any]:
    """Return the values of the frame that all pages of a repo share."""
    card = (summary or call.hub.summaries.of(repo)).card
    return {
        "account": call.account,
        "repo": repo,
        "home": f"/{repo.id.path}",
        "revision": revision,
        "title": _line(card.get("title")),
        "base": call.base,
        "next": call.request.scope["path"],
        "is_space": repo.id.kind is Kind.SPACE,
    }


def branches(git: Any, prefix: str, verdicts: Mapping[str, str] | None = None) -> list[Branch]:
    """Return the branches, or tags, below a prefix: main first, then the newest version (v10 before v9)."""
    verdicts = verdicts or {}
    found = []
    for ref in git.references:
        if ref.startswith(prefix):
            name = ref.removeprefix(prefix)
            found.append(Branch(name, git_objects.log_entry(git[git_objects.peel(git, ref)]), verdicts.get(name)))
    return sorted(found, key=lambda b: (b.name != "main", -_number(b.name), b.name))


def _number(name: str) -> int:
    return int(name[1:]) if name.startswith("v") and name[1:].isdecimal() and len(name) < 12 else 0


def login(call: Call) -> Response:
    """Answer GET /login: challenge the browser for a token, set the session cookie, and redirect to `next`.

    Raises:
        HubError: the request has no credentials yet (401).
    """
    if call.account is None:
        raise HubError(401, "Sign in with any user name, and your token as the password.")
    target = call.query.get("next", "/")
    local = target.startswith("/") and not target.startswith(("//", "/\\"))
    answer = RedirectResponse(quote(target, safe="/%") if local else "/", status_code=303)
    value = call.hub.sessions.make(call.account)
    secure = call.base.startswith("https://")
    answer.set_cookie(sessions.COOKIE, value, max_age=sessions.SECONDS, httponly=True, samesite="strict", secure=secure)
    return answer


def logout(_: Call) -> Response:
    """Answer GET /logout: delete the session cookie."""
    answer = RedirectResponse("/", status_code=303)
    answer.delete_cookie(sessions.COOKIE, httponly=True, samesite="strict")
    return answer


def style(_: Call) -> Response:
    """Answer with the style sheet."""
    return FileResponse(
        page_html.TEMPLATES / "hub.css", media_type="text/css", headers={"Cache-Control": "max-age=300"}
    )


def error_page(path: str, error: HubError) -> Response:
    """Render an error as a page; missing and invisible repos give the same page."""
    status = 404 if error.code == "RepoNotFound" else error.status
    return page_html.page("error.html", status=status, account=None, error=error, code=status, next=path)


ROUTES = [
    Route("/", endpoint(home)),
    Route("/login", endpoint(login)),
    Route("/logout", endpoint(logout)),
    Route("/static/hub.css", endpoint(style)),
    Route("/{owner:part}", endpoint(home)),
    Route(REPO_FILES, endpoint(repo_page)),
    Route(f"{REPO_FILES}/tree/{{revision:part}}", endpoint(repo_page)),
    Route(f"{REPO_FILES}/tree/{{revision:part}}/{{path:rest}}", endpoint(folder_page)),
    Route(f"{REPO_FILES}/blob/{{revision:part}}/{{path:rest}}", endpoint(file_page)),
    Route(f"{REPO_FILES}/commits/{{revision:part}}", endpoint(commits_page)),
    Route(f"{REPO_FILES}/commit/{{revision:part}}", endpoint(commit_page)),
]
