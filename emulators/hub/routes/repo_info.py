"""Information about one repo, and pages of lists of repos."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulators.hub import git_objects
from emulators.hub.accounts import Account
from emulators.hub.context import Call, Hub, endpoint
from emulators.hub.http_errors import bad_request
from emulators.hub.names import Kind, check_repo_name
from emulators.hub.repo_listing import PAGE, SORTS, Listed, Query, describe, select, summarize
from emulators.hub.routes.spaces import runtime
from emulators.hub.storage import Repo
from emulators.hub.url_patterns import REPO


def info(call: Call) -> Response:
    """Answer GET KIND/OWNER/NAME[/revision/REVISION]."""
    repo = call.repo()
    if "revision" in call.params:
        summary = summarize(repo, git_objects.resolve(repo.git(), call.params["revision"]))
    else:
        summary = call.hub.summaries.of(repo)
    expand = _expand(call)
    described = describe(Listed(repo, summary), expand, blobs=call.flag("blobs"))
    if repo.settings.space and (expand is None or "runtime" in expand):
        described["runtime"] = runtime(call, repo, summary)
        described["host"] = described["runtime"].pop("host", None)
    return JSONResponse(described)


def _expand(call: Call) -> list[str] | None:
    query = call.request.query_params
    return [*query.getlist("expand"), *query.getlist("expand[]")] or None


def auth_check(call: Call) -> Response:
    """Answer GET auth-check[/write]: whether the sender may read, or write, a repo."""
    call.require_file_access(call.repo(write=call.request.url.path.endswith("/write")))
    return JSONResponse({"ok": True})


def listing(call: Call) -> Response:
    """Answer GET KIND: one page of repos, with the next page's URL in the Link header."""
    kind, query = call.params["kind"], call.request.query_params
    filters = [tag for value in query.getlist("filter") for tag in value.split(",") if tag]
    filters += query.getlist("pipeline_tag")
    sort = query.get("sort", "id")
    if sort not in SORTS:
        raise bad_request(f"Cannot sort by {sort!r}; it is one of {', '.join(SORTS)}")
    # The default order is by name, in which a reader of many pages sees every repo exactly once.
    descending = "sort" in query and query.get("direction") != "1"
    wanted = Query(
        author=query.get("author"),
        search=query.get("search"),
        filters=tuple(filters),
        sort=sort,
        descending=descending,
        limit=_limit(query.get("limit")),
        cursor=query.get("cursor"),
    )
    page = select(_visible(call.hub, call.account, kind, wanted), call.hub.summaries, wanted)
    expand = _expand(call) or _default_fields(call)
    described = []
    for item in page.items:
        one = describe(item, expand)
        if item.repo.settings.space and "runtime" in expand:
            one["runtime"] = runtime(call, item.repo, item.summary)
        described.append(one)
    headers = {}
    if page.cursor:
        again = [(key, value) for key, value in query.multi_items() if key != "cursor"]
        address = f"{call.base}/api/{kind.value}?{urlencode([*again, ('cursor', page.cursor)])}"
        headers["Link"] = f'<{address}>; rel="next"'
    return JSONResponse(described, headers=headers)


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise bad_request("limit must be a positive number")
    return min(int(text), PAGE)


def _visible(hub: Hub, account: Account | None, kind: Kind, wanted: Query) -> Iterator[Repo]:
    owner = check_repo_name(wanted.author) if wanted.author else None
    repos = hub.repos.all(kind, owner, wanted.after)
    return (repo for repo in repos if hub.may_read(account, repo))


def _default_fields(call: Call) -> list[str]:
    """Return the fields of each listed repo when the client names none."""
    fields = ["likes", "trendingScore", "private", "downloads", "tags", "createdAt", "modelId", "pipeline_tag"]
    fields += ["library_name", "sdk"]
    if call.flag("full"):
        fields += ["author", "sha", "lastModified", "gated", "disabled", "siblings"]
    if call.flag("cardData") or (call.flag("full") and call.params["kind"] is not Kind.MODEL):
        fields.append("cardData")
    if call.flag("config"):
        fields.append("config")
    return fields


ROUTES = [
    Route("/api/{kind:kind}", endpoint(listing)),
    Route(REPO, endpoint(info)),
    Route(f"{REPO}/revision/{{revision:part}}", endpoint(info)),
    Route(f"{REPO}/auth-check", endpoint(auth_check)),
    Route(f"{REPO}/auth-check/write", endpoint(auth_check)),
]
