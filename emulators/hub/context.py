"""What every route needs: who asks, for which repo, and whether that is allowed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from emulators.hub.accounts import Account, Accounts, Credentials
from emulators.hub.apps.control_dir import Board
from emulators.hub.apps.limits import Limits
from emulators.hub.commits import Author
from emulators.hub.config import HubConfig
from emulators.hub.endpoints import EndpointStore
from emulators.hub.errors import HubError, bad_request, forbidden, repo_not_found
from emulators.hub.lfs import LfsStore
from emulators.hub.listing import Summaries
from emulators.hub.multipart import MultipartUploads
from emulators.hub.names import Kind, RepoId, is_repo_name
from emulators.hub.sessions import COOKIE, Sessions
from emulators.hub.storage import Repo, RepoStore
from emulators.hub.webhooks import Webhooks

_MAX_BODY = 16 << 20
_Body = TypeVar("_Body", bound=BaseModel)


class Hub:
    """A hub's parts, made once per server process over one root folder."""

    def __init__(
        self, root: Path, accounts: Accounts, limits: Limits | None = None, config: HubConfig | None = None
    ) -> None:
        self.root = root
        self.config = config or HubConfig()
        # What apps may use; without limits this server runs none (another one of the same root may).
        self.limits = limits
        self.accounts = accounts
        self.repos = RepoStore(root)
        self.lfs = LfsStore(root)
        self.multipart = MultipartUploads(self.lfs)
        self.sessions = Sessions(root, accounts)
        self.summaries = Summaries()
        self.endpoints = EndpointStore(root)
        self.hooks = Webhooks(root)
        self.board = Board(root)

    def may_read(self, account: Account | None, repo: Repo) -> bool:
        """Whether the repo exists for this account."""
        return not repo.settings.private or (account is not None and account.namespace(repo.id.owner))

    def look_at(self, repo: Repo) -> None:
        """Let the keeper look at a Space that was changed; other repos run nothing."""
        if repo.id.kind is Kind.SPACE:
            self.board.ask(repo.settings.uid, repo.id.key)

    def may_refer(self, account: Account, oid: str) -> bool:
        """Whether the account may name an LFS object without sending its bytes (see lfs)."""
        for holder in self.lfs.grants(oid):
            what, _, key = holder.partition(":")
            if what == "account" and key == account.name.lower():
                return True
            if what == "repo":
                kind, owner, name = key.split("/")
                repo = self.repos.get(RepoId(Kind(kind), owner, name))
                if repo is not None and self.may_read(account, repo):
                    return True
        return False


@dataclass(frozen=True)
class Call:
    """One request, with its body read and its sender known."""

    hub: Hub
    request: Request
    credentials: Credentials
    body: bytes = b""

    @property
    def params(self) -> dict[str, Any]:
        """The parts of the address, already unquoted."""
        return self.request.path_params

    @property
    def query(self) -> dict[str, str]:
        """The query; of a repeated key the last value."""
        return dict(self.request.query_params)

    @property
    def account(self) -> Account | None:
        """Who asks; none is anonymous."""
        return self.credentials.account

    @property
    def base(self) -> str:
        """This server's address as the client wrote it, without a trailing slash."""
        return str(self.request.base_url).rstrip("/")

    def flag(self, name: str) -> bool:
        """A yes or no in the query."""
        return self.query.get(name, "").lower() in ("1", "true", "yes", "on")

    def json(self, model: type[_Body]) -> _Body:
        """The body as one of our models. Raises HubError (400) naming every field that is wrong."""
        with refusing_invalid():
            return model.model_validate_json(self.body or b"{}")

    def reachable(self, address: str) -> str:
        """An app's address as the client can reach it: an app that listens everywhere is where this server is."""
        return re.sub(r"//(0\.0\.0\.0|\[::\]):", f"//{self.request.url.hostname}:", address)

    def writer(self) -> Account:
        """The account, if it may change anything at all.

        Raises:
            HubError: nobody signed in (401), or with a token that only reads (403).
        """
        if self.account is None:
            raise HubError(401, "Invalid username or password.")
        if self.credentials.automatic:
            # Browsers send Basic credentials by themselves, also when another site's page makes them ask.
            raise forbidden("Changes need the token as `Authorization: Bearer`")
        if self.account.role != "write":
            raise forbidden("This token may only read")
        return self.account

    def author(self) -> Author:
        """Who will stand in the commits."""
        return Author(self.writer().name)

    def repo(self, *, write: bool = False) -> Repo:
        """The repo that the address names.

        Raises:
            HubError: it does not exist or is invisible (404, or 401 to strangers), or it is not theirs to change (403).
        """
        return self.find(self.params["kind"], self.params["owner"], self.params["name"], write=write)

    def find(self, kind: Kind, owner: str, name: str, *, write: bool = False) -> Repo:
        """A repo by name, with the checks of `repo`."""
        named = RepoId(kind, owner, name)
        found = self.hub.repos.get(named) if is_repo_name(owner) and is_repo_name(name) else None
        if found is None and not write:
            self._follow(named)
        if found is None or not self.hub.may_read(self.account, found):
            raise repo_not_found(anonymous=self.account is None)
        if write and not self.writer().namespace(found.id.owner):
            raise forbidden(f"You don't have the rights to change {found.id}")
        return found

    def _follow(self, old: RepoId) -> None:
        """Send those who ask for files or pages of a repo that was renamed to its new name; the API knows only this."""
        path: str = self.request.scope["path"]
        here = f"/{old.path}"
        if self.request.method not in ("GET", "HEAD") or not path.startswith(here) or not is_repo_name(old.name):
            return
        target = self.hub.repos.moved(old) if is_repo_name(old.owner) else None
        if target is not None and self.hub.may_read(self.account, target):
            query = f"?{self.request.url.query}" if self.request.url.query else ""
            to = {"Location": f"/{target.id.path}{path[len(here) :]}{query}"}
            raise HubError(307, f"{old} is called {target.id} now", headers=to)

    def files_of(self, repo: Repo) -> Repo:
        """The repo, if its files may be read: gated ones are listed for everybody, but open only to their owners."""
        mine = self.account is not None and self.account.namespace(repo.id.owner)
        if repo.settings.gated and not mine:
            what = f"Access to {repo.id.kind.singular} {repo.id} is restricted"
            if self.account is None:
                raise HubError(401, f"{what}. You must have access to it and be authenticated.", "GatedRepo")
            raise HubError(403, f"{what} and you are not in the authorized list.", "GatedRepo")
        return repo


@contextlib.contextmanager
def refusing_invalid() -> Iterator[None]:
    """Turn what a model finds wrong into a refusal (400) that names every field."""
    try:
        yield
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors())
        raise bad_request(found) from None


Handler = Callable[[Call], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


def identify(request: Request) -> Call:
    """The call without its body, for routes that stream it."""
    hub: Hub = request.app.state.hub
    header = request.headers.get("Authorization")
    if header is None and (account := hub.sessions.find(request.cookies.get(COOKIE))) is not None:
        return Call(hub, request, Credentials(account, automatic=True))
    return Call(hub, request, hub.accounts.authenticate(header))


def endpoint(handler: Handler) -> Endpoint:
    """Let a plain function answer: it runs in a worker thread, since git and disks block."""

    async def answer(request: Request) -> Response:
        call = identify(request)
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_BODY:
                    raise HubError(413, f"The body has more than {_MAX_BODY} bytes")
        except ClientDisconnect:
            raise bad_request("The request ended early") from None
        return await run_in_threadpool(handler, Call(call.hub, request, call.credentials, bytes(body)))

    return answer
