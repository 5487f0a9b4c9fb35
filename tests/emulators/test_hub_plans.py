"""Plans of accounts, seen by the unmodified client: what a plan does not allow, and how often it allows the rest."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, set_client_factory
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import _http, parse_ratelimit_headers

from emulators.hub.accounts import Account, Accounts
from emulators.hub.quotas import Quotas
from emulators.hub.server import running

ANNA = {"Authorization": "Bearer hf_anna"}


@pytest.fixture(autouse=True)
def unmodified_client() -> Iterator[None]:
    """The library's own HTTP client; tests before these may have let it heed limits."""
    ours = _http._GLOBAL_CLIENT_FACTORY
    set_client_factory(_http.default_client_factory)
    yield
    set_client_factory(ours)


@contextmanager
def hub_of(tmp_path: Path, account: str) -> Iterator[HfApi]:
    """Run a Hub with one account, as the accounts file describes it, and yield its client."""
    file = tmp_path / "accounts.yaml"
    file.write_text(f"- {{name: anna, token: hf_anna, {account}}}\n", encoding="utf-8")
    with running(tmp_path / "hub", accounts=Accounts.load(file)) as hub:
        yield HfApi(endpoint=hub.url, token="hf_anna")


def answered(error: HfHubHTTPError) -> tuple[int, str]:
    return error.response.status_code, error.server_message or ""


TEAM = "organizations: [{name: team, plan: team}, {name: club, plan: free}]"


@pytest.mark.parametrize(
    ("account", "repo", "sdk", "status"),
    [
        ("plan: free", "anna/a", "gradio", 402),
        ("plan: free", "anna/a", "docker", 402),
        ("plan: free", "anna/a", "static", None),
        ("plan: pro", "anna/a", "gradio", None),
        ("role: write", "anna/a", "gradio", None),
        (f"plan: free, {TEAM}", "team/a", "gradio", None),
        (f"plan: pro, {TEAM}", "club/a", "gradio", 402),
        ("plan: free, limits: {app_spaces: true}", "anna/a", "gradio", None),
    ],
)
def test_who_may_create_a_space(tmp_path: Path, account: str, repo: str, sdk: str, status: int | None) -> None:
    with hub_of(tmp_path, account) as api:
        assert api.create_repo(repo.replace("/a", "/model")).repo_type == "model"
        if status is None:
            assert api.create_repo(repo, repo_type="space", space_sdk=sdk).repo_type == "space"
            return
        with pytest.raises(HfHubHTTPError) as caught:
            api.create_repo(repo, repo_type="space", space_sdk=sdk)
        assert answered(caught.value)[0] == status
        assert "Static Spaces are free" in answered(caught.value)[1]


def test_hardware_needs_a_way_to_pay(tmp_path: Path) -> None:
    with hub_of(tmp_path, "plan: free, limits: {app_spaces: true}") as api:
        api.create_repo("anna/a", repo_type="space", space_sdk="gradio")
        api.request_space_hardware("anna/a", "cpu-basic")  # type: ignore[arg-type]
        with pytest.raises(HfHubHTTPError, match="payment method") as caught:
            api.request_space_hardware("anna/a", "t4-small")  # type: ignore[arg-type]
        assert answered(caught.value)[0] == 403


def test_private_storage_is_limited_and_public_is_not(tmp_path: Path) -> None:
    with hub_of(tmp_path, "plan: free, limits: {private_bytes: 100000}") as api:
        api.create_repo("anna/secret", private=True)
        api.create_repo("anna/open")
        api.upload_file(path_or_fileobj=b"x" * 200_000, path_in_repo="a.bin", repo_id="anna/open")
        api.upload_file(path_or_fileobj=b"y" * 60_000, path_in_repo="a.bin", repo_id="anna/secret")
        for path in ("b.bin", "b.txt"):
            with pytest.raises(HfHubHTTPError, match="storage limit") as caught:
                api.upload_file(path_or_fileobj=path.encode() * 12_000, path_in_repo=path, repo_id="anna/secret")
            assert answered(caught.value)[0] == 403


def test_requests_are_counted_and_every_answer_says_how_many_are_left(tmp_path: Path) -> None:
    with hub_of(tmp_path, "plan: free, limits: {api: 3, window: 100000}") as api:
        seen = []
        for _ in range(4):
            answer = httpx2.get(f"{api.endpoint}/api/models", headers=ANNA)
            limit = parse_ratelimit_headers(answer.headers)
            assert limit is not None
            seen.append((answer.status_code, limit.resource_type, limit.remaining, limit.limit))
            assert (limit.window_seconds, 0 < limit.reset_in_seconds <= 100_000) == (100_000, True)
        assert seen == [(200, "api", 2, 3), (200, "api", 1, 3), (200, "api", 0, 3), (429, "api", 0, 3)]
        with pytest.raises(HfHubHTTPError, match="0/3 requests remaining"):
            api.model_info("anna/none")
        assert httpx2.get(f"{api.endpoint}/anna", headers=ANNA).status_code != 429, "pages are counted apart"
        assert "ratelimit" not in httpx2.get(f"{api.endpoint}/api/models").headers, "nobody's"


def test_commits_per_hour(tmp_path: Path) -> None:
    with hub_of(tmp_path, "plan: pro, limits: {commits: 2}") as api:
        api.create_repo("anna/a")
        for number in range(2):
            api.upload_file(path_or_fileobj=b"x%d" % number, path_in_repo="a", repo_id="anna/a")
        with pytest.raises(HfHubHTTPError, match=r"2 per hour.*retry this action in about") as caught:
            api.upload_file(path_or_fileobj=b"y", path_in_repo="a", repo_id="anna/a")
        limit = parse_ratelimit_headers(caught.value.response.headers)
        assert limit is not None
        assert limit.remaining > 0, "the header is about another limit"


def test_a_new_window_begins_anew_and_the_best_plan_counts() -> None:
    moment = [7200.0]
    quotas, anna = Quotas(lambda: moment[0]), Account.model_validate({"name": "anna", "token": "hf_anna"})
    free = anna.model_copy(update={"plan": "free"})
    in_team = Account.model_validate(
        {"name": "anna", "token": "hf_anna", "plan": "free", "organizations": [{"name": "team", "plan": "team"}]}
    )
    assert (free.rates().api, in_team.rates().api, anna.rates().api) == (1000, 3000, None)
    for _ in range(128):
        quotas.count_commit(free)
    with pytest.raises(Exception, match="128 per hour"):
        quotas.count_commit(free)
    moment[0] += 3600
    quotas.count_commit(free)


@pytest.mark.parametrize("account", ["plan: gold", "plan: team", "limits: {comits: 1}", "limits: {api: -1}"])
def test_an_accounts_file_with_an_unknown_plan_is_refused(tmp_path: Path, account: str) -> None:
    with pytest.raises(ValueError, match=r"accounts\.yaml"), hub_of(tmp_path, account):
        raise AssertionError("it was read")


@pytest.mark.parametrize(
    ("account", "pro", "organizations"),
    [("plan: free", False, {}), ("plan: pro", True, {}), ("role: write", True, {}),
     (f"plan: free, {TEAM}", False, {"team": "team", "club": None})],
)  # fmt: skip
def test_whoami_names_the_plans(tmp_path: Path, account: str, pro: bool, organizations: dict[str, str | None]) -> None:
    with hub_of(tmp_path, account) as api:
        me = api.whoami()
        assert (me["type"], me["isPro"], me["canPay"]) == ("user", pro, pro)
        assert {one["name"]: one["plan"] for one in me["orgs"]} == organizations
