"""402, 403 and 429 of the Hub, as the unmodified client meets them: one sentence each, with what to do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import hf_raise_for_status
from pydantic import SecretStr

from conceptry.errors import (
    ConceptryError,
    HubError,
    PaymentRequiredError,
    RateLimitedError,
    RefusedError,
    TransientError,
    left_to_the_plan,
)
from conceptry.installation import HubTarget
from conceptry.reasons import ActionReason
from emulators.hub.accounts import Accounts
from emulators.hub.server import running
from tasks.hub import HubSession, hide_repos, publish, translate_errors
from tasks.hub.rate_limits import LIMITS, limit_of
from tests.support.bundles import make_bundle


@contextmanager
def hub_of(tmp_path: Path, account: str, owner: str = "anna") -> Iterator[HubTarget]:
    """Run a Hub with one account, as the accounts file describes it."""
    file = tmp_path / "accounts.yaml"
    file.write_text(f"- {{name: anna, token: hf_anna, {account}}}\n", encoding="utf-8")
    with running(tmp_path / "hub", accounts=Accounts.load(file)) as server:
        yield HubTarget(server.url, owner, SecretStr("hf_anna"))
    LIMITS.forget()


def create_space(session: HubSession) -> None:
    session.create_repo("a-cat", "space")


def rent(session: HubSession) -> None:
    session.create_repo("a-cat", "space")
    session.api.request_space_hardware(session.target.repo("a-cat"), "t4-small")  # type: ignore[arg-type]


def upload_secretly(session: HubSession) -> None:
    session.create_repo("a-cat", private=True)
    session.commit("a-cat", "large", [CommitOperationAdd("a.bin", b"\0" * 5000)])


def create_model(session: HubSession) -> None:
    session.create_repo("a-cat")


PRIVATE = "plan: pro, limits: {private_bytes: 9}"


@pytest.mark.parametrize(
    ("account", "owner", "act", "reason", "says", "do"),
    [
        ("plan: free", "anna", create_space, "PaymentRequired", "answered 402", "get a plan for anna (PRO"),
        ("plan: free, limits: {app_spaces: true}", "anna", rent, "PaymentRequired", "answered 403", "a way to pay"),
        (PRIVATE, "anna", upload_secretly, "PaymentRequired", "storage", "larger plan"),
        ("plan: pro", "ben", create_model, "HubRefused", "answered 403", "write access to the repos of ben"),
        ("role: read", "anna", create_model, "HubRefused", "answered 403", "write access to the repos of anna"),
    ],
)  # fmt: skip
def test_what_is_refused_until_somebody_acts(
    tmp_path: Path, account: str, owner: str, act: Callable[[HubSession], None], reason: str, says: str, do: str
) -> None:
    with hub_of(tmp_path, account, owner) as target, pytest.raises(RefusedError) as caught:  # noqa: SIM117
        with translate_errors(target, "doing it", name="a-cat"):
            act(HubSession(target))
    error = caught.value
    assert error.reason == ActionReason(reason)
    assert isinstance(error, PaymentRequiredError) == (reason == "PaymentRequired")
    assert left_to_the_plan(error)
    assert says in error.what
    assert do in (error.next_step or "")
    assert "\n" not in str(error)


def test_a_refused_space_loses_no_version(tmp_path: Path) -> None:
    with hub_of(tmp_path, "plan: free") as target:
        assert publish(HubSession(target), "a-cat", make_bundle(tmp_path / "b", "a-cat", fingerprint="1" * 64)).number


def test_a_quota_of_commits_stops_commits_only(tmp_path: Path) -> None:
    with hub_of(tmp_path, "plan: pro, limits: {commits: 1}") as target:
        session = HubSession(target)
        session.create_repo("a-cat")
        session.commit("a-cat", "one", [CommitOperationAdd("a", b"1")])
        for _ in range(2):
            with pytest.raises(RateLimitedError, match=r"no more commits for now.*1 per hour") as caught:
                session.commit("a-cat", "two", [CommitOperationAdd("a", b"2")])
            assert caught.value.writes
        session.create_branch("a-cat", "v1", session.refs("a-cat").branches["main"])  # type: ignore[union-attr]
        session.trust("a-cat", "model")
        session.trust("a-cat", "space")
        hide_repos(session, "a-cat")
        session.forget("a-cat")
        assert session.model("a-cat").private  # type: ignore[union-attr]


def test_some_seconds_are_waited_for_whatever_the_request_is(tmp_path: Path) -> None:
    with hub_of(tmp_path, "plan: pro, limits: {api: 3, window: 3}") as target:
        session = HubSession(target)
        session.create_repo("a-cat")
        head = session.commit("a-cat", "one", [CommitOperationAdd("a", b"1")])
        session.trust("a-cat", "model")
        for number in range(8):
            session.create_branch("a-cat", f"v{number + 1}", head)
        session.create_tag("a-cat", "fp-1", head)
        session.forget("a-cat")
        refs = session.refs("a-cat")
        assert refs is not None
        assert len(refs.versions) == 8


HF = '"fixed window";"{0}";q={1};w=300'
USED_UP = "We had to rate limit you, you hit the quota of 1000 api requests per 5 minutes period."
COMMITS = (
    "You have exceeded the rate limit for repository commits (128 per hour). You can retry this action in about 1 hour."
)


def answer(status: int, headers: dict[str, str], error: str, method: str, url: str) -> httpx2.Response:
    return httpx2.Response(status, headers=headers, json={"error": error}, request=httpx2.Request(method, url))


@pytest.mark.parametrize(
    ("headers", "said", "method", "path", "kind", "seconds", "words"),
    [
        ({"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": HF.format("api", 1000)}, USED_UP, "GET", "/api/models",
         "api", 55.0, "the 1,000 API requests of 5 minutes are used up"),
        ({"RateLimit": '"resolvers";r=0;t=9'}, "Slower", "GET", "/a/b/resolve/main/c", "resolvers", 9.0, "Slower"),
        ({"RateLimit": '"api";r=800;t=55'}, COMMITS, "POST", "/api/models/a/b/commit/main", "commits", 3600.0, COMMITS),
        ({}, "You have exceeded our hourly quotas for action: commit. We invite you to retry later.", "POST",
         "/api/models/a/b/commit/main", "commits", 900.0, None),
        ({}, USED_UP, "POST", "/a/b.git/info/lfs/objects/batch", "writes", 300.0, USED_UP),
        ({"Retry-After": "60"}, "", "POST", "/api/repos/create", "creations", 60.0, ""),
        ({}, "Too many requests", "GET", "/api/models", "all", None, "Too many requests"),
    ],
)  # fmt: skip
def test_what_a_429_limits(
    headers: dict[str, str], said: str, method: str, path: str, kind: str, seconds: float | None, words: str | None
) -> None:
    limit = limit_of(answer(429, headers, said, method, f"https://hub.example{path}"), said)
    assert (limit.kind, limit.seconds) == (kind, seconds)
    assert limit.words == (said if words is None else words)


@pytest.mark.parametrize(
    ("status", "said", "method", "url", "kind"),
    [
        (403, "SignatureDoesNotMatch", "PUT", "https://bucket.example/object", TransientError),
        (403, "This address has expired", "PUT", "http://hub.example/_lfs/upload/1", TransientError),
        (403, "Access to model a/b is restricted", "GET", "http://hub.example/a/b/resolve/main/c", HubError),
        (403, "Your storage patterns tripped our internal systems!", "POST", "http://hub.example/api/models/a/b/commit/main",
         PaymentRequiredError),
        (402, "", "POST", "http://hub.example/api/models/a/b/branch/x", PaymentRequiredError),
        (403, "You need a credential", "POST", "http://hub.example/api/models/a/b/branch/x", RefusedError),
        (429, "Too many requests", "GET", "http://hub.example/api/models", RateLimitedError),
    ],
)  # fmt: skip
def test_which_error_an_answer_is(status: int, said: str, method: str, url: str, kind: type[ConceptryError]) -> None:
    headers: dict[str, Any] = {"X-Error-Message": said} if said else {}

    @translate_errors(HubTarget("http://hub.example", "anna"), "doing it")
    def upload() -> None:
        """Raise what the client raises."""
        try:
            hf_raise_for_status(answer(status, headers, said, method, url))
        except HfHubHTTPError as error:
            raise RuntimeError("Error while uploading") from error

    with pytest.raises(ConceptryError) as caught:
        upload()
    assert type(caught.value) is kind
