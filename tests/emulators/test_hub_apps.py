"""Spaces and Inference Endpoints as processes: build, start, failures, pause, wake, limits and access."""

import contextlib
from collections.abc import Callable, Iterator

import httpx2
import psutil
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, InferenceEndpoint, constants
from huggingface_hub.errors import HfHubHTTPError

from emulators.hub.apps.limits import Limits
from emulators.hub.server import RunningHub, running
from tests.support.hub_server import ACCOUNTS, ANNA, BEN, CONFIG
from tests.support.wait import wait_until

# A Space needs no framework: any program that listens on its port is an app.
APP = b"""
import http.server, os, sys
print("starting", os.environ["SPACE_ID"], flush=True)
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/exit": os._exit(3)
        if self.path == "/eat": self.server.eaten = b"x" * 200_000_000
        shown = [os.environ.get("COLOUR", "none"), str("Authorization" in self.headers), os.environ["HF_ENDPOINT"]]
        if self.path == "/given":
            shown = [os.environ.get(name, "none") for name in ("APP_API", "APP_CACHE", "APP_OTHER")]
        self.send_response(200); self.end_headers(); self.wfile.write("\\n".join(shown).encode())
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"""
HANDLER = b"""
class EndpointHandler:
    def __init__(self, path):
        import helper, pathlib
        self.word = helper.WORD
        self.weights = len((pathlib.Path(path) / "w.bin").read_bytes())
    def __call__(self, data):
        if data["inputs"] == "picture":
            from PIL import Image
            return Image.new("RGB", (4, 4))
        result = {"said": self.word, "weights": self.weights, "got": data.get("parameters")}
        return result | {"number": 1 / data.get("by", 1)}
"""
LIMITS = Limits(apps=2, memory=150_000_000, processes=8, start_seconds=30)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("APP_CACHE", "/cache")
        patched.setenv("APP_OTHER", "not for apps")
        with running(tmp_path_factory.mktemp("apps"), accounts=ACCOUNTS, limits=LIMITS, config=CONFIG) as hub:
            yield hub


@pytest.fixture(scope="module")
def api(hub: RunningHub) -> HfApi:
    return HfApi(endpoint=hub.url, token="hf_anna")


@pytest.fixture
def new_space(api: HfApi) -> Callable[..., str]:
    """Return a function that creates a Space; the Hub's own Python meets its requirement, Gradio."""

    def make(name: str, app: bytes = APP, **options: object) -> str:
        repo = f"anna/{name}"
        api.create_repo(repo, repo_type="space", space_sdk="gradio", **options)  # type: ignore[arg-type]
        push(api, repo, {"app.py": app})
        return repo

    return make


def push(api: HfApi, repo: str, files: dict[str, bytes]) -> None:
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    api.create_commit(repo, operations, commit_message="push", repo_type="space")


def until(api: HfApi, repo: str) -> str:
    """Wait until a Space is built and started, or failed, and return its stage; pytest shows what is printed here."""
    runtime = api.wait_for_space(repo, timeout=60, poll_interval=0.1)
    print(repo, runtime.stage, runtime.raw.get("errorMessage"))
    return str(runtime.stage)


def address(api: HfApi, repo: str) -> str:
    return str(httpx2.get(f"{api.endpoint}/api/spaces/{repo}/host", headers=ANNA).json()["host"])


def test_a_space_runs_fails_restarts_and_pauses(api: HfApi, hub: RunningHub, new_space: Callable[..., str]) -> None:
    repo = new_space("lively", space_variables=[{"key": "COLOUR", "value": "teal"}])
    assert api.get_space_runtime(repo).stage in ("BUILDING", "APP_STARTING", "RUNNING")
    assert until(api, repo) == "RUNNING"
    url = address(api, repo)
    assert httpx2.get(url, headers=ANNA).text == f"teal\nFalse\n{hub.url}"
    assert httpx2.get(f"{url}/given").text == f"{hub.url}/v2\n/cache\nnone"
    assert api.space_info(repo).host == url
    assert any("starting anna/lively" in line for line in log(hub, repo, "run"))
    assert any("meets all requirements" in line for line in log(hub, repo, "build"))

    assert httpx2.get(f"{url}/exit").status_code == 502
    wait_until(lambda: until(api, repo) == "RUNTIME_ERROR")
    assert "Exit code: 3" in api.get_space_runtime(repo).raw["errorMessage"]
    assert httpx2.get(url).status_code == 503

    api.restart_space(repo)
    assert until(api, repo) == "RUNNING"
    assert address(api, repo) == url
    api.add_space_variable(repo, "COLOUR", "red")
    assert until(api, repo) == "RUNNING"
    assert httpx2.get(url).text.startswith("red")
    assert api.pause_space(repo).stage == "PAUSED"
    wait_until(lambda: httpx2.get(url).status_code == 503)
    api.delete_repo(repo, repo_type="space")
    wait_until(lambda: not answers(url))


def answers(url: str) -> bool:
    try:
        httpx2.get(url)
    except httpx2.TransportError:
        return False
    return True


def log(hub: RunningHub, repo: str, name: str) -> list[str]:
    """Read a log as the client does, up to the first event that does not arrive at once."""
    found = []
    url = f"{hub.url}/api/spaces/{repo}/logs/{name}"
    silence = contextlib.suppress(httpx2.ReadTimeout)
    with silence, httpx2.stream("GET", url, headers=ANNA, timeout=0.7) as answer:
        for line in answer.iter_lines():
            found.append(line)
    return found


def test_a_space_that_cannot_run_reports_why(
    api: HfApi, new_space: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    broken = new_space("broken", b"raise SystemExit('no luck today')")
    assert until(api, broken) == "RUNTIME_ERROR"
    assert "no luck today" in api.get_space_runtime(broken).raw["errorMessage"]
    push(api, broken, {"requirements.txt": b"no-such-package-anywhere==1\n"})
    assert until(api, broken) == "BUILD_ERROR"
    push(api, broken, {"README.md": b"---\nsdk: docker\n---\n", "Dockerfile": b"FROM x"})
    assert until(api, broken) == "CONFIG_ERROR"
    push(api, broken, {"README.md": b"---\nsdk: gradio\napp_file: none.py\n---\n"})
    assert until(api, broken) == "NO_APP_FILE"


def test_a_private_space_is_open_to_its_owner_only(api: HfApi, new_space: Callable[..., str]) -> None:
    repo = new_space("secret", private=True)
    assert until(api, repo) == "RUNNING"
    url = address(api, repo)
    assert httpx2.get(url).status_code == 401
    assert "Basic" in httpx2.get(url).headers["WWW-Authenticate"]
    assert httpx2.get(url, headers=BEN).status_code == 403
    # The proxy accepts the token and does not pass it on.
    assert httpx2.get(url, headers=ANNA).text.splitlines()[1] == "False"
    assert httpx2.get(url, auth=("anna", "hf_anna")).status_code == 200
    with httpx2.Client(headers=ANNA) as client:  # one connection, checked each time
        assert client.get(url).status_code == 200
        assert client.get(url, headers=BEN).status_code == 403
    refused = httpx2.get(f"{api.endpoint}/api/spaces/{repo}/logs/run")
    assert refused.status_code == 401


def test_more_apps_than_slots_take_turns(api: HfApi, new_space: Callable[..., str]) -> None:
    names = [new_space(f"turn-{number}") for number in range(3)]

    def stages() -> list[str]:
        return [str(api.get_space_runtime(name).stage) for name in names]

    wait_until(lambda: sorted(stages()) == ["RUNNING", "RUNNING", "SLEEPING"])
    sleeper = names[stages().index("SLEEPING")]
    page = httpx2.get(address(api, sleeper), headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["Retry-After"]) == (503, "2")
    assert 'http-equiv="refresh"' in page.text
    assert httpx2.get(address(api, sleeper), timeout=60).status_code == 200  # a request of a program waits
    assert until(api, sleeper) == "RUNNING"
    assert sum(1 for p in psutil.Process().children() if "sandbox_program.py" in " ".join(p.cmdline())) == 2
    for name in names:
        api.delete_repo(name, repo_type="space")


def test_an_app_starts_while_those_that_held_its_slot_are_removed(api: HfApi, new_space: Callable[..., str]) -> None:
    for number in range(4):
        olds = [new_space(f"old-{number}-{index}") for index in range(2)]
        assert [until(api, old) for old in olds] == ["RUNNING", "RUNNING"]
        for old in olds:
            api.delete_repo(old, repo_type="space")
        new = new_space(f"new-{number}")
        assert until(api, new) == "RUNNING"
        api.delete_repo(new, repo_type="space")


def test_limits_end_an_app(api: HfApi, new_space: Callable[..., str]) -> None:
    greedy = new_space("greedy")
    assert until(api, greedy) == "RUNNING"
    httpx2.get(f"{address(api, greedy)}/eat")
    wait_until(lambda: api.get_space_runtime(greedy).stage == "RUNTIME_ERROR")
    assert api.get_space_runtime(greedy).raw["errorMessage"] == "Memory limit exceeded (0.1 GB)"
    forks = b"import subprocess, time\nx = [subprocess.Popen(['sleep', '60']) for _ in range(20)]\ntime.sleep(60)"
    many = new_space("many", forks)
    assert until(api, many) == "RUNTIME_ERROR"
    assert api.get_space_runtime(many).raw["errorMessage"] == "Process limit exceeded (8)"


@pytest.fixture
def endpoints(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "INFERENCE_ENDPOINTS_ENDPOINT", f"{hub.url}/v2")


def deploy(api: HfApi, name: str, **options: object) -> InferenceEndpoint:
    machine = {"accelerator": "cpu", "vendor": "aws", "region": "us-east-1", "type": "authenticated"}
    machine |= {"instance_type": "intel-icl", "instance_size": "x2", "framework": "custom", "task": "custom"}
    # Without `token` the endpoints that the client returns have none.
    token = str(api.token)
    return api.create_inference_endpoint(
        name,
        repository="anna/served",
        token=token,
        **machine | options,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def served(api: HfApi) -> str:
    """Publish a model with a handler; returns the commit of its first version."""
    api.create_repo("anna/served")
    files = {"handler.py": HANDLER, "helper.py": b"WORD = 'hello'", "w.bin": bytes(5000), "tf/x.bin": b"\0"}
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    good = api.create_commit("anna/served", operations, commit_message="handler").oid
    api.upload_file(path_or_fileobj=b"WORD = 'bye'", path_in_repo="helper.py", repo_id="anna/served")
    return str(good)


@pytest.mark.usefixtures("endpoints")
def test_an_endpoint_serves_the_handler_of_its_revision(api: HfApi, hub: RunningHub, served: str) -> None:
    endpoint = deploy(api, "one", revision=served, env={"A": "b"}, secrets={"S": "hidden"})
    assert (endpoint.status, endpoint.revision, endpoint.url) == ("pending", served, None)
    assert endpoint.wait(timeout=60, refresh_every=1).status == "running"
    assert endpoint.url is not None
    url = endpoint.url

    def ask(body: object = None, headers: dict[str, str] | None = None, query: str = "") -> httpx2.Response:
        return httpx2.post(f"{url}{query}", json=body, headers=ANNA | (headers or {}))

    assert ask({"inputs": "x"}).json() == {"said": "hello", "weights": 5000, "got": None, "number": 1.0}
    assert ask({"inputs": "x"}, query="/?steps=3&fast=true").json()["got"] == {"steps": 3, "fast": True}
    assert (ask({"outputs": 1}).status_code, ask({"inputs": "x", "by": 0}).json()) == (
        400,
        {"error": "division by zero"},
    )
    picture = ask({"inputs": "picture"}, {"Accept": "image/png"})
    assert (picture.headers["Content-Type"], picture.content[:4]) == ("image/png", b"\x89PNG")
    assert ask({"inputs": "picture"}).status_code == 400
    assert ask({"inputs": "x"}, {"Accept": "image/png"}).status_code == 400
    assert httpx2.post(url, json={"inputs": "x"}).status_code == 401
    assert httpx2.post(url, json={"inputs": "x"}, headers=BEN).status_code == 200
    assert "hidden" not in httpx2.get(f"{hub.url}/v2/endpoint/anna/one", headers=ANNA).text
    assert not list(hub.root.glob("run/apps/*/at-*/tf"))  # as on machines with PyTorch

    endpoint.scale_to_zero()
    assert endpoint.status == "scaledToZero"
    wait_until(lambda: ask({"inputs": "x"}).status_code == 503)
    assert ask({"inputs": "x"}, {"X-Scale-Up-Timeout": "60"}).json()["said"] == "hello"
    assert endpoint.fetch().status == "running"
    endpoint.pause()
    wait_until(lambda: ask({"inputs": "x"}).status_code == 400)
    assert endpoint.resume().status in ("pending", "initializing")
    endpoint.update(revision="main")
    endpoint.wait(timeout=60, refresh_every=1)
    assert ask({"inputs": "x"}).json()["said"] == "bye"
    endpoint.delete()
    wait_until(lambda: not answers(url))
    with pytest.raises(HfHubHTTPError, match="404"):
        endpoint.fetch()


@pytest.mark.usefixtures("endpoints")
def test_wrong_endpoints_are_refused_with_a_reason(api: HfApi, served: str) -> None:
    hardware = api.list_inference_endpoints_hardware()
    assert {h.vendor for h in hardware} == {"aws", "azure", "gcp"}
    deploy(api, "taken", min_replica=0, revision=served)
    for options, status, words in (
        ({"name": "taken"}, 409, "already exists"),
        ({"name": "Bad_Name"}, 400, "name"),
        ({"region": "moon"}, 400, "us-east-1"),
        ({"instance_type": "abacus"}, 400, "intel-icl x2"),
        ({"revision": "nowhere"}, 404, "nowhere"),
        ({"min_replica": 2}, 400, "minReplica"),
        ({"namespace": "ben"}, 403, "ben"),
    ):
        arguments = {"name": "other"} | options
        with pytest.raises(HfHubHTTPError, match=words) as caught:
            deploy(api, **arguments)  # type: ignore[arg-type]
        assert caught.value.response.status_code == status
    assert [e.name for e in api.list_inference_endpoints()] == ["taken"]
    api.delete_inference_endpoint("taken")
