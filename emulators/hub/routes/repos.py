"""Repos: create, delete, move, settings; the account and its repos; validation of cards."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from emulators.hub import cards, webhook_events
from emulators.hub.accounts import Account
from emulators.hub.context import Call, endpoint
from emulators.hub.http_errors import HubError, bad_request, forbidden
from emulators.hub.names import Kind, RepoId, check_repo_name
from emulators.hub.quotas import check_space
from emulators.hub.repo_listing import timestamp
from emulators.hub.routes.spaces import SpaceRequest
from emulators.hub.storage import RepoSettings
from emulators.hub.url_patterns import REPO

# .gitattributes of a new repo: weights and archives go to LFS.
_LFS_PATTERNS = (
    "*.7z *.arrow *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.lfs.* *.mlmodel *.model *.msgpack *.npy "
    "*.npz *.onnx *.ot *.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* "
    "*.tar.* *.tar *.tflite *.tgz *.wasm *.xz *.zip *.zst *tfevents*"
)
GITATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in _LFS_PATTERNS.split()
).encode()


class CreateRequest(SpaceRequest):
    """Body of POST /api/repos/create."""

    name: str
    organization: str | None = None
    type: str | None = None
    private: bool | None = None
    visibility: Literal["public", "private", "protected"] | None = None
    sdk: str | None = None


class DeleteRequest(BaseModel):
    """Body of DELETE /api/repos/delete."""

    name: str
    organization: str | None = None
    type: str | None = None


class MoveRequest(BaseModel):
    """Body of POST /api/repos/move."""

    fromRepo: str  # noqa: N815 - the protocol's name
    toRepo: str  # noqa: N815
    type: str | None = None


class SettingsRequest(BaseModel):
    """Body of PUT /api/KIND/owner/name/settings."""

    private: bool | None = None
    visibility: Literal["public", "private", "protected"] | None = None
    gated: Literal["auto", "manual", False] | None = None


class CardRequest(BaseModel):
    """Body of POST /api/validate-yaml."""

    content: str
    repoType: str | None = None  # noqa: N815


def health(_: Call) -> Response:
    """Answer GET /healthz."""
    return PlainTextResponse("ok")


def whoami(call: Call) -> Response:
    """Answer GET /api/whoami-v2."""
    account = call.account
    if account is None:
        raise HubError(401, "Invalid username or password.")
    organizations = [
        {"type": "org", "id": o.name, "name": o.name, "fullname": o.fullname or o.name, "roleInOrg": account.role}
        | {"plan": None if o.plan == "free" else o.plan or "enterprise", "canPay": account.limits_in(o.name).can_pay}
        for o in account.organizations
    ]
    token = {"displayName": "token", "role": account.role}
    described = {"type": "user", "id": account.name, "name": account.name, "fullname": account.fullname or account.name}
    # Without a plan nothing is limited, so a client may do what a PRO account may.
    plan = {"isPro": account.plan != "free", "canPay": account.limits_in(account.name).can_pay}
    auth = {"type": "access_token", "accessToken": token}
    return JSONResponse(described | plan | {"orgs": organizations, "auth": auth})


def create(call: Call) -> Response:
    """Answer POST /api/repos/create: create a repo with its first commit."""
    payload, account = call.json(CreateRequest), call.writer()
    kind = Kind.parse(payload.type)
    owner, name = _namespace(account, payload.organization), check_repo_name(payload.name)
    repo = RepoId(kind, owner, name)
    if kind is Kind.SPACE:
        check_space(account, owner, payload.sdk)
    if (found := call.hub.repos.get(repo)) and call.hub.may_read(account, found) and account.is_member(owner):
        raise _exists(call, found.id)
    if not account.is_member(owner):
        raise forbidden(f'You don\'t have the rights to create a {kind.singular} under the namespace "{owner}"')
    space = payload.apply() if kind is Kind.SPACE else None
    organization = account.organization(owner)
    private = payload.visibility != "public" if payload.visibility else payload.private
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
    call.hub.summaries.preload([made])
    webhook_events.emit(call, made, "create", "repo")
    return JSONResponse({"url": f"{call.base}/{made.id.path}", "name": str(made.id), "id": made.settings.uid})


def _namespace(account: Account, owner: str | None) -> str:
    """Return the owner in the spelling of the accounts file."""
    if owner is None or owner.lower() == account.name.lower():
        return account.name
    organization = account.organization(owner)
    return organization.name if organization else check_repo_name(owner)


def _exists(call: Call, repo: RepoId) -> HubError:
    message = f"You already created this {repo.kind.singular} repo: {repo}"
    return HubError(409, message, url=f"{call.base}/{repo.path}")


def delete(call: Call) -> Response:
    """Answer DELETE /api/repos/delete."""
    payload = call.json(DeleteRequest)
    owner = payload.organization or call.writer().name
    repo = call.find(Kind.parse(payload.type), owner, payload.name, write=True)
    webhook_events.emit(call, repo, "delete", "repo")
    call.hub.repos.delete(repo)
    call.hub.request_reconcile(repo)
    return PlainTextResponse("OK")


def move(call: Call) -> Response:
    """Answer POST /api/repos/move: rename a repo, or move it to another namespace of the account."""
    payload, account = call.json(MoveRequest), call.writer()
    source, target = payload.fromRepo.split("/"), payload.toRepo.split("/")
    if len(source) != 2 or len(target) != 2:
        raise bad_request("Repos are named namespace/name")
    repo = call.find(Kind.parse(payload.type), *source, write=True)
    owner, name = check_repo_name(target[0]), check_repo_name(target[1])
    if not account.is_member(owner):
        raise forbidden(f"You don't have the rights to move a repo to {owner}")
    moved = call.hub.repos.move(repo, _namespace(account, owner), name)
    for entry in call.hub.summaries.of(moved).files:
        if entry.lfs:
            call.hub.lfs.grant(entry.lfs.oid, f"repo:{moved.id.key}")
    webhook_events.emit(call, repo, "move", "repo", movedTo=webhook_events.moved_to(moved.id))
    call.hub.request_reconcile(moved)
    return JSONResponse({"url": f"{call.base}/{moved.id.path}"})


def settings(call: Call) -> Response:
    """Answer PUT settings: change visibility and gating."""
    payload = call.json(SettingsRequest)
    private = payload.visibility != "public" if payload.visibility else payload.private
    changes = {"private": private, "gated": payload.gated}
    given = {key: value for key, value in changes.items() if value is not None}
    changed = call.hub.repos.update(call.repo(write=True), lambda now: now.model_copy(update=given))
    webhook_events.emit(call, changed, "update", "repo.config")
    call.hub.request_reconcile(changed)
    return JSONResponse({"private": changed.settings.private, "gated": changed.settings.gated})


def owned(call: Call) -> Response:
    """Answer GET settings/repositories: the repos of the account or of an organization, with their sizes in bytes."""
    account, owner = call.account, call.params.get("owner")
    if account is None:
        raise HubError(401, "Invalid username or password.")
    if owner is not None and not account.is_member(owner):
        raise forbidden(f"You are not in {owner[:100]}")
    found: list[dict[str, Any]] = []
    for kind in Kind:
        for repo in call.hub.repos.all(kind, owner or account.name):
            summary, hidden = call.hub.summaries.of(repo), repo.settings.private
            one: dict[str, Any] = {"id": str(repo.id), "type": kind.singular, "updatedAt": timestamp(summary.modified)}
            found.append(one | {"visibility": "private" if hidden else "public", "storage": summary.bytes})
    total = sum(one["storage"] for one in found) or 1
    return JSONResponse([one | {"storagePercent": one["storage"] / total} for one in found])


def validate_yaml(call: Call) -> Response:
    """Answer POST /api/validate-yaml: check a card before it is committed."""
    payload = call.json(CardRequest)
    errors, warnings = cards.problems(payload.content, Kind.parse(payload.repoType))
    body = {"errors": [{"message": e} for e in errors], "warnings": [{"message": w} for w in warnings]}
    return JSONResponse(body, status_code=400 if errors else 200)


ROUTES = [
    Route("/healthz", endpoint(health)),
    Route("/api/whoami-v2", endpoint(whoami)),
    Route("/api/settings/repositories", endpoint(owned)),
    Route("/api/organizations/{owner:name}/settings/repositories", endpoint(owned)),
    Route("/api/validate-yaml", endpoint(validate_yaml), methods=["POST"]),
    Route("/api/repos/create", endpoint(create), methods=["POST"]),
    Route("/api/repos/delete", endpoint(delete), methods=["DELETE"]),
    Route("/api/repos/move", endpoint(move), methods=["POST"]),
    Route(f"{REPO}/settings", endpoint(settings), methods=["PUT"]),
]
