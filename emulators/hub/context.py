"""The context of a request: the Hub's stores, the sender, and the repo that it names, with all access checks."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from emulators.hub.accounts import Account, Accounts, Credentials
from emulators.hub.apps.control_dir import ControlDir
from emulators.hub.apps.limits import Limits
from emulators.hub.commits import Author
from emulators.hub.config import HubConfig
from emulators.hub.endpoint_store import EndpointStore
from emulators.hub.http_errors import HubError, bad_request, forbidden, repo_not_found
from emulators.hub.lfs import LfsStore
from emulators.hub.multipart import MultipartUploads
from emulators.hub.names import Kind, RepoId, is_repo_name
from emulators.hub.quotas import Quotas, check_private_storage
from emulators.hub.repo_listing import Summaries
from emulators.hub.sessions import COOKIE, Sessions
from emulators.hub.signing import Signer
from emulators.hub.storage import Repo, RepoStore
from emulators.hub.webhooks import Webhooks

_MAX_BODY = 16 << 20
_Body = TypeVar("_Body", bound=BaseModel)


class Hub:
    """The stores of one root folder, made once per server process.

    `limits` apply to apps; without limits this server runs none (another server of the same root may). `public_url` is
    the address of a reverse proxy in front of it, without a trailing slash; None if clients reach it directly.
    """

    def __init__(
        self,
        root: Path,
        accounts: Accounts,
        limits: Limits | None = None,
        config: HubConfig | None = None,
        public_url: str | None = None,
    ) -> None:
        self.root, self.public_url = root, public_url
        self.config = config or HubConfig()
        self.limits = limits
        self.accounts = accounts
        self.repos = RepoStore(root)
        signer = Signer(root)
        self.lfs = LfsStore(root, signer)
        self.multipart = MultipartUploads(self.lfs)
        self.sessions = Sessions(accounts, signer)
        self.summaries = Summaries()
        self.endpoints = EndpointStore(root)
        self.webhooks = Webhooks(root)
        self.control = ControlDir(root)
        self.quotas = Quotas()

    def may_read(self, account: Account | None, repo: Repo) -> bool:
        """Whether the account may see the repo."""
        return not repo.settings.private or (account is not None and account.is_member(repo.id.owner))

    def request_reconcile(self, repo: Repo) -> None:
        """Ask the supervisor to reconcile a Space that was changed; other repos run nothing."""
        if repo.id.kind is Kind.SPACE:
            self.control.request_reconcile(repo.settings.uid, repo.id.key)

    def may_reference(self, account: Account, oid: str) -> bool:
        """Whether the account may refer to an LFS object without sending its bytes (see lfs)."""
        for holder in self.lfs.grants(oid):
            kind_of_holder, _, key = holder.partition(":")
            if kind_of_holder == "account" and key == account.name.lower():
                return True
            if kind_of_holder == "repo":
                kind, owner, name = key.split("/")
                repo = self.repos.get(RepoId(Kind(kind), owner, name))
                if repo is not None and self.may_read(account, repo):
                    return True
        return False


@dataclass(frozen=True)
class Call:
    """One request, with its sender authenticated and its body read."""

    hub: Hub
    request: Request
    credentials: Credentials
    body: bytes = b""

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the URL's path, unquoted."""
        return self.request.path_params

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; of a repeated key the last value."""
        return dict(self.request.query_params)

    @property
    def account(self) -> Account | None:
        """The sender; none is anonymous."""
        return self.credentials.account

    @property
    def base(self) -> str:
        """This server's public URL, else as the client wrote it; without a trailing slash."""
        return self.hub.public_url or str(self.request.base_url).rstrip("/")

    def flag(self, name: str) -> bool:
        """Return a boolean query parameter; false when it is missing."""
        return self.query.get(name, "").lower() in ("1", "true", "yes", "on")

    def json(self, model: type[_Body]) -> _Body:
        """Parse the body as a model.

        Raises:
            HubError: the body is not valid (400); the message names every wrong field.
        """
        with reject_invalid():
            return model.model_validate_json(self.body or b"{}")

    def public_address(self, address: str) -> str:
        """Return an app's URL for the client: a wildcard host becomes the host of the Hub's URL."""
        return re.sub(r"//(0\.0\.0\.0|\[::\]):", f"//{urlsplit(self.base).hostname}:", address)

    def writer(self) -> Account:
        """Return the sender, if its token may write.

        Raises:
            HubError: the sender is anonymous (401), or its credentials may only read (403).
        """
        if self.account is None:
            raise HubError(401, "Invalid username or password.")
        if self.credentials.sent_by_browser:
            # Browsers attach Basic credentials also to requests that another site's page makes.
            raise forbidden("Changes need the token as `Authorization: Bearer`")
        if self.account.role != "write":
            raise forbidden("This token may only read")
        return self.account

    def check_storage(self, repo: Repo, added: int) -> None:
        """Check that so many bytes may be added to a repo.

        Raises:
            HubError: it is private, and its owner's private storage would be exceeded (403).
        """
        if not repo.settings.private:
            return
        owner, hub = repo.id.owner, self.hub
        private = (each for kind in Kind for each in hub.repos.all(kind, owner) if each.settings.private)
        stored = (hub.summaries.of(each).bytes for each in private)
        check_private_storage(self.writer().limits_in(owner), stored, added)

    def author(self) -> Author:
        """Return the author of the commits that this request makes."""
        return Author(self.writer().name)

    def repo(self, *, write: bool = False) -> Repo:
        """Return the repo that the URL names.

        Raises:
            HubError: it is missing or invisible (404, or 401 for anonymous senders), or the sender may not change it
                although `write` is set (403).
        """
        return self.find(self.params["kind"], self.params["owner"], self.params["name"], write=write)

    def find(self, kind: Kind, owner: str, name: str, *, write: bool = False) -> Repo:
        """Return a repo by its name.

        Raises:
            HubError: as for `repo`.
        """
        named = RepoId(kind, owner, name)
        found = self.hub.repos.get(named) if is_repo_name(owner) and is_repo_name(name) else None
        if found is None and not write:
            self._redirect_if_moved(named)
        if found is None or not self.hub.may_read(self.account, found):
            raise repo_not_found(anonymous=self.account is None)
        if write and not self.writer().is_member(found.id.owner):
            raise forbidden(f"You don't have the rights to change {found.id}")
        return found

    def _redirect_if_moved(self, old: RepoId) -> None:
        """Redirect requests that read a renamed repo, its pages, files or API, to its new name."""
        path: str = self.request.scope["path"]
        if self.request.method not in ("GET", "HEAD") or not is_repo_name(old.name):
            return
        target = self.hub.repos.moved(old) if is_repo_name(old.owner) else None
        if target is None or not self.hub.may_read(self.account, target):
            return
        for before, after in ((old.path, target.id.path), (_api_path(old), _api_path(target.id))):
            rest = path.removeprefix(f"/{before}")
            if rest != path and (not rest or rest.startswith(("/", ".git/"))):
                query = f"?{self.request.url.query}" if self.request.url.query else ""
                raise HubError(307, f"{old} was renamed to {target.id}", headers={"Location": f"/{after}{rest}{query}"})

    def require_file_access(self, repo: Repo) -> Repo:
        """Return the repo if the sender may read its files: those of gated repos are open to the owner only.

        Raises:
            HubError: the repo is gated (401 for anonymous senders, else 403).
        """
        member = self.account is not None and self.account.is_member(repo.id.owner)
        if repo.settings.gated and not member:
            problem = f"Access to {repo.id.kind.singular} {repo.id} is restricted"
            if self.account is None:
                raise HubError(401, f"{problem}. You must have access to it and be authenticated.", "GatedRepo")
            raise HubError(403, f"{problem} and you are not in the authorized list.", "GatedRepo")
        return repo


def _api_path(repo: RepoId) -> str:
    return f"api/{repo.kind.value}/{repo}"


@contextlib.contextmanager
def reject_invalid() -> Iterator[None]:
    """Turn a model's validation error into an error answer that names every wrong field.

    Raises:
        HubError: the block raised a validation error (400).
    """
    try:
        yield
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors())
        raise bad_request(found) from None


Handler = Callable[[Call], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


def identify(request: Request) -> Call:
    """Return the call without its body, for routes that stream the body; it counts in the account's rates.

    Raises:
        HubError: the credentials are wrong (401), or the account has used up its requests (429).
    """
    hub: Hub = request.app.state.hub
    header = request.headers.get("Authorization")
    if header is None and (account := hub.sessions.find(request.cookies.get(COOKIE))) is not None:
        credentials = Credentials(account, sent_by_browser=True)
    else:
        credentials = hub.accounts.authenticate(header)
    if credentials.account is not None:
        hub.quotas.count_request(request.scope, credentials.account)
    return Call(hub, request, credentials)


def endpoint(handler: Handler) -> Endpoint:
    """Turn a function into an endpoint; it runs in a worker thread, since git and disks block."""

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
