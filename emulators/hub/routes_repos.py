"""Repos: whoami, create, delete, move, settings, info and lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlencode

from pydantic import BaseModel
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from emulators.hub import cards, history, news
from emulators.hub.access import Call, Hub, endpoint
from emulators.hub.accounts import Account
from emulators.hub.addresses import REPO
from emulators.hub.errors import HubError, bad_request, forbidden
from emulators.hub.listing import PAGE, SORTS, Listed, Query, describe, select, summarize
from emulators.hub.names import Kind, RepoId, check_repo_name
from emulators.hub.routes_spaces import SpaceRequest, runtime
from emulators.hub.storage import Repo, RepoSettings

# What the Hub writes into a new repo, so that weights and archives go to LFS.
_LFS_PATTERNS = (
    "*.7z *.arrow *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.lfs.* *.mlmodel *.model *.msgpack *.npy "
    "*.npz *.onnx *.ot *.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* "
    "*.tar.* *.tar *.tflite *.tgz *.wasm *.xz *.zip *.zst *tfevents*"
)
GITATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in _LFS_PATTERNS.split()
).encode()


class CreateRequest(SpaceRequest):
    """POST /api/repos/create."""

    name: str
    organization: str | None = None
    type: str | None = None
    private: bool | None = None
    visibility: Literal["public", "private", "protected"] | None = None
    sdk: str | None = None


class DeleteRequest(BaseModel):
    """DELETE /api/repos/delete."""

    name: str
    organization: str | None = None
    type: str | None = None


class MoveRequest(BaseModel):
    """POST /api/repos/move."""

    fromRepo: str  # noqa: N815 - the protocol's name
    toRepo: str  # noqa: N815
    type: str | None = None


class SettingsRequest(BaseModel):
    """PUT /api/KIND/owner/name/settings."""

    private: bool | None = None
    visibility: Literal["public", "private", "protected"] | None = None
    gated: Literal["auto", "manual", False] | None = None


class CardRequest(BaseModel):
    """POST /api/validate-yaml."""

    content: str
    repoType: str | None = None  # noqa: N815


def health(_: Call) -> Response:
    """GET /healthz."""
    return PlainTextResponse("ok")


def whoami(call: Call) -> Response:
    """GET /api/whoami-v2."""
    account = call.account
    if account is None:
        raise HubError(401, "Invalid username or password.")
    organizations = [
        {"type": "org", "id": o.name, "name": o.name, "fullname": o.fullname or o.name, "roleInOrg": account.role}
        for o in account.organizations
    ]
    token = {"displayName": "token", "role": account.role}
    described = {"type": "user", "id": account.name, "name": account.name, "fullname": account.fullname or account.name}
    auth = {"type": "access_token", "accessToken": token}
    return JSONResponse(described | {"isPro": False, "orgs": organizations, "auth": auth})


def create(call: Call) -> Response:
    """Make a repo with its first commit."""
    asked, account = call.json(CreateRequest), call.writer()
    kind = Kind.parse(asked.type)
    owner, name = _namespace(account, asked.organization), check_repo_name(asked.name)
    repo = RepoId(kind, owner, name)
    if (found := call.hub.repos.get(repo)) and call.hub.may_read(account, found) and account.namespace(owner):
        raise _exists(call, found.id)
    if not account.namespace(owner):
        raise forbidden(f'You don\'t have the rights to create a {kind.singular} under the namespace "{owner}"')
    space = asked.apply() if kind is Kind.SPACE else None
    organization = account.organization(owner)
    private = asked.visibility != "public" if asked.visibility else asked.private
    if private is None:
        private = organization is not None and organization.private_by_default
    settings = RepoSettings(owner=owner, name=name, private=private, space=space)
    files = {".gitattributes": GITATTRIBUTES}
    if space:
        files["README.md"] = f"---\ntitle: {name}\nemoji: 🚀\nsdk: {space.sdk}\npinned: false\n---\n".encode()
    try:
        made = call.hub.repos.create(kind, settings, files, call.author())
    except HubError as error:
        raise (_exists(call, repo) if error.status == 409 else error) from None
    call.hub.summaries.prepare([made])
    news.tell(call, made, "create", "repo")
    return JSONResponse({"url": f"{call.base}/{made.id.path}", "name": str(made.id), "id": made.settings.uid})


def _namespace(account: Account, owner: str | None) -> str:
    """The owner, spelled as in the accounts."""
    if owner is None or owner.lower() == account.name.lower():
        return account.name
    organization = account.organization(owner)
    return organization.name if organization else check_repo_name(owner)


def _exists(call: Call, repo: RepoId) -> HubError:
    message = f"You already created this {repo.kind.singular} repo: {repo}"
    return HubError(409, message, url=f"{call.base}/{repo.path}")


def delete(call: Call) -> Response:
    """Remove a repo."""
    asked = call.json(DeleteRequest)
    owner = asked.organization or call.writer().name
    repo = call.find(Kind.parse(asked.type), owner, asked.name, write=True)
    news.tell(call, repo, "delete", "repo")
    call.hub.repos.delete(repo)
    call.hub.look_at(repo)
    return PlainTextResponse("OK")


def move(call: Call) -> Response:
    """Rename a repo, or give it to another namespace of the same account."""
    asked, account = call.json(MoveRequest), call.writer()
    source, target = asked.fromRepo.split("/"), asked.toRepo.split("/")
    if len(source) != 2 or len(target) != 2:
        raise bad_request("Repos are named namespace/name")
    repo = call.find(Kind.parse(asked.type), *source, write=True)
    owner, name = check_repo_name(target[0]), check_repo_name(target[1])
    if not account.namespace(owner):
        raise forbidden(f"You don't have the rights to move a repo to {owner}")
    moved = call.hub.repos.move(repo, _namespace(account, owner), name)
    for entry in call.hub.summaries.of(moved).files:
        if entry.lfs:
            call.hub.lfs.grant(entry.lfs.oid, f"repo:{moved.id.key}")
    news.tell(call, repo, "move", "repo", movedTo=news.moved_to(moved.id))
    call.hub.look_at(moved)
    return JSONResponse({"url": f"{call.base}/{moved.id.path}"})


def settings(call: Call) -> Response:
    """Change visibility and gating."""
    asked = call.json(SettingsRequest)
    private = asked.visibility != "public" if asked.visibility else asked.private
    changes = {"private": private, "gated": asked.gated}
    given = {key: value for key, value in changes.items() if value is not None}
    changed = call.hub.repos.update(call.repo(write=True), lambda now: now.model_copy(update=given))
    news.tell(call, changed, "update", "repo.config")
    call.hub.look_at(changed)
    return JSONResponse({"private": changed.settings.private, "gated": changed.settings.gated})


def info(call: Call) -> Response:
    """One repo, at main or at a revision."""
    repo = call.repo()
    if "revision" in call.params:
        summary = summarize(repo, history.resolve(repo.git(), call.params["revision"]))
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
    """GET auth-check[/write]: whether the files of a repo are open to this token."""
    call.files_of(call.repo(write=call.request.url.path.endswith("/write")))
    return JSONResponse({"ok": True})


def listing(call: Call) -> Response:
    """A page of repos; the next page's address is in the Link header."""
    kind, query = call.params["kind"], call.request.query_params
    filters = [tag for value in query.getlist("filter") for tag in value.split(",") if tag]
    filters += query.getlist("pipeline_tag")
    sort = query.get("sort", "id")
    if sort not in SORTS:
        raise bad_request(f"Cannot sort by {sort!r}; it is one of {', '.join(SORTS)}")
    # Without an order asked for, by name: a reader of many pages then sees every repo exactly once.
    descending = "sort" in query and query.get("direction") != "1"
    asked = Query(
        author=query.get("author"),
        search=query.get("search"),
        filters=tuple(filters),
        sort=sort,
        descending=descending,
        limit=_limit(query.get("limit")),
        cursor=query.get("cursor"),
    )
    page = select(_visible(call.hub, call.account, kind, asked.author), call.hub.summaries, asked)
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


def _visible(hub: Hub, account: Account | None, kind: Kind, author: str | None) -> Iterator[Repo]:
    owner = check_repo_name(author) if author else None
    return (repo for repo in hub.repos.all(kind, owner) if hub.may_read(account, repo))


def _default_fields(call: Call) -> list[str]:
    """What a listing says of each repo when no fields are named."""
    fields = ["likes", "trendingScore", "private", "downloads", "tags", "createdAt", "modelId", "pipeline_tag"]
    fields += ["library_name", "sdk"]
    if call.flag("full"):
        fields += ["author", "sha", "lastModified", "gated", "disabled", "siblings"]
    if call.flag("cardData") or (call.flag("full") and call.params["kind"] is not Kind.MODEL):
        fields.append("cardData")
    if call.flag("config"):
        fields.append("config")
    return fields


def validate_yaml(call: Call) -> Response:
    """Check a card before it is committed."""
    asked = call.json(CardRequest)
    errors, warnings = cards.problems(asked.content, Kind.parse(asked.repoType))
    body = {"errors": [{"message": e} for e in errors], "warnings": [{"message": w} for w in warnings]}
    return JSONResponse(body, status_code=400 if errors else 200)


ROUTES = [
    Route("/healthz", endpoint(health)),
    Route("/api/whoami-v2", endpoint(whoami)),
    Route("/api/validate-yaml", endpoint(validate_yaml), methods=["POST"]),
    Route("/api/repos/create", endpoint(create), methods=["POST"]),
    Route("/api/repos/delete", endpoint(delete), methods=["DELETE"]),
    Route("/api/repos/move", endpoint(move), methods=["POST"]),
    Route("/api/{kind:kind}", endpoint(listing)),
    Route(REPO, endpoint(info)),
    Route(f"{REPO}/revision/{{revision:part}}", endpoint(info)),
    Route(f"{REPO}/settings", endpoint(settings), methods=["PUT"]),
    Route(f"{REPO}/auth-check", endpoint(auth_check)),
    Route(f"{REPO}/auth-check/write", endpoint(auth_check)),
]
