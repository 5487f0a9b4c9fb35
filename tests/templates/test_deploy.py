"""The Deploy tab's dealings with the Inference Endpoints API, against the local Hub's and one that refuses."""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import LocalEntryNotFoundError

from emulators.hub.server import running
from space_template import endpoints
from space_template.deploy import steps_html, table_html
from space_template.endpoints import ENDPOINTS_API_VARIABLE, Account, Order, Refused
from space_template.loading import ModelUnavailableError, explain, free_memory, load, too_little_memory
from space_template.machines import describe, pick, price_html
from space_template.messages import first_notice
from space_template.model_worker import ModelWorker
from space_template.settings import SpaceSettings, read_settings
from trainer.base_weights.fetch import FetchError

EXAMPLE = read_settings(Path(__file__).resolve().parents[2] / "space_template" / "settings.json")
SERVED = replace(EXAMPLE, revision="f" * 40, version="v2", model_repo="local/my-cat")
ORDER = Order("my-cat", "local", "aws-us-east-1-intel-icl-x2", 0, 1, "authenticated")
TOKEN = "hf_local"
SECRET = "hf_verysecret"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpaceSettings]:
    """A local Hub with one version of my-cat; what the Space of that version serves."""
    with running(tmp_path / "hub") as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setenv(ENDPOINTS_API_VARIABLE, f"{server.url}/v2")
        monkeypatch.setattr(constants, "INFERENCE_ENDPOINTS_ENDPOINT", constants.INFERENCE_ENDPOINTS_ENDPOINT)
        # HfApi reads its default address when the module is imported.
        monkeypatch.setattr(endpoints, "HfApi", lambda token: HfApi(endpoint=server.url, token=token))
        api = HfApi(endpoint=server.url, token=TOKEN)
        api.create_repo("local/my-cat")
        commit = api.upload_file(path_or_fileobj=b"x", path_in_repo="handler.py", repo_id="local/my-cat")
        yield replace(SERVED, revision=commit.oid)


def account() -> Account:
    return endpoints.look_up(TOKEN)


@pytest.mark.usefixtures("hub")
def test_the_account_and_its_machines_are_read_from_the_api() -> None:
    found = account()

    assert found.namespaces == ("local",)
    wanted = {"vendor": "aws", "region": "us-east-1", "instance_type": "nvidia-t4", "instance_size": "x1"}
    chosen = next(one for one in found.hardware if one.id == pick(found.hardware, wanted))
    assert (chosen.vendor, chosen.region, chosen.instance_type, chosen.instance_size) == tuple(wanted.values())
    unknown = next(one for one in found.hardware if one.id == pick(found.hardware, {"instance_type": "nvidia-z9"}))
    assert unknown.price_per_hour == min(one.price_per_hour for one in found.hardware), "nothing dear unasked"
    assert describe(chosen) == "Nvidia T4 · 16 GB · $0.5/h"
    assert "$1.00</strong> an hour at most, nothing while it sleeps" in price_html(found.hardware, chosen.id, 0, 2)
    assert "$0.50 an hour at least" in price_html(found.hardware, chosen.id, 1, 2)


def test_an_endpoint_is_made_from_the_exact_revision_and_looked_after(hub: SpaceSettings) -> None:
    made = endpoints.create(ORDER, account().hardware, hub, TOKEN)
    assert made.state == "pending"

    [listed] = endpoints.list_all("local", TOKEN)
    raw = listed.raw
    assert (raw["model"]["repository"], raw["model"]["revision"]) == ("local/my-cat", hub.revision)
    assert (raw["model"]["task"], raw["type"]) == ("custom", "authenticated")
    assert (raw["provider"]["vendor"], raw["provider"]["region"]) == ("aws", "us-east-1")
    assert (raw["compute"]["instanceType"], raw["compute"]["instanceSize"]) == ("intel-icl", "x2")
    scaling = raw["compute"]["scaling"]
    assert (scaling["minReplica"], scaling["maxReplica"], scaling["scaleToZeroTimeout"]) == (0, 1, 15)
    with pytest.raises(Refused, match="There is an endpoint named my-cat already"):
        endpoints.create(ORDER, account().hardware, hub, TOKEN)

    assert endpoints.change("pause", "my-cat", "local", TOKEN) == "my-cat is paused."
    assert [progress.state for progress in endpoints.watch("my-cat", "local", TOKEN)] == ["paused"]
    assert "Paused" in table_html(endpoints.list_all("local", TOKEN))
    assert endpoints.change("resume", "my-cat", "local", TOKEN) == "my-cat starts again."
    assert endpoints.change("delete", "my-cat", "local", TOKEN) == "my-cat is deleted."
    assert endpoints.list_all("local", TOKEN) == []
    with pytest.raises(Refused, match="my-cat is not visible to this token in local"):
        endpoints.change("delete", "my-cat", "local", TOKEN)


@pytest.mark.usefixtures("hub")
def test_a_token_that_is_not_taken_is_said_and_not_repeated() -> None:
    with pytest.raises(Refused, match="The token was refused") as caught:
        endpoints.look_up(SECRET)
    assert SECRET not in str(caught.value)
    for token in ("", "  "):
        with pytest.raises(Refused, match="Give a token"):
            endpoints.look_up(token)
    with pytest.raises(Refused, match="That is not a token"):
        endpoints.look_up("hf_ключ")


def test_what_is_wrong_with_an_order_is_said_before_anybody_is_asked() -> None:
    order = replace(ORDER, name="My Cat!", hardware="none", min_replica=3, security="open")
    with pytest.raises(Refused) as caught:
        endpoints.create(order, (), replace(SERVED, revision=None), SECRET)

    for words in ("No version is published", "lower-case letters", "Choose a machine", "Replicas", "Security"):
        assert words in str(caught.value)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An Endpoints API that answers every request for an endpoint with the status in its name."""

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = int(self.path.split("-")[1].split("/")[0])
            content = json.dumps({"error": f"no: <b>{SECRET}</b>"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv(ENDPOINTS_API_VARIABLE, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "INFERENCE_ENDPOINTS_ENDPOINT", constants.INFERENCE_ENDPOINTS_ENDPOINT)
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "did not accept this"), (401, "token was refused"), (402, "no way to pay"), (403, "quota"),
        (409, "There is an endpoint named cat-409 already"), (500, "failed; try again later"),
    ],
)  # fmt: skip
def test_refusals_come_in_words_and_without_the_token(status: int, words: str) -> None:
    with pytest.raises(Refused, match=words) as caught:
        endpoints.change("pause", f"cat-{status}", "tess", SECRET)

    page = steps_html([str(caught.value)], bad=True)
    assert SECRET not in page
    assert "<b>" not in page


@pytest.mark.usefixtures("refusing")
def test_an_endpoint_that_does_not_draw_is_told() -> None:
    with pytest.raises(Refused, match=r"The endpoint answered 400: .*no: <b>…</b>"):
        endpoints.call(f"{os.environ[ENDPOINTS_API_VARIABLE]}/endpoint-400", "a cat", SECRET)
    with pytest.raises(Refused, match="did not answer"):
        endpoints.call("http://127.0.0.1:9", "a cat", SECRET, timeout=2)


def test_a_version_that_cannot_be_fetched_is_said_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path / "hub") as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        studio = ModelWorker(SERVED)
        studio.start()
        with pytest.raises(ModelUnavailableError, match="local/my-cat at ffffffffff"):
            studio.wait(60)
    assert "could not be fetched" in explain(LocalEntryNotFoundError("no network"), SERVED)
    lacking = FileNotFoundError("base model sd-v1-4: kcv_encoder.h5 is not in /base. Put it there")
    assert explain(lacking, SERVED).startswith("base model sd-v1-4: kcv_encoder.h5 is not in /base. Put it there")


@pytest.mark.skipif((free_memory() or 9) < 6, reason="the Space says that sd-v1-4 does not fit here")
def test_the_page_says_how_far_the_weights_are_and_what_is_wrong_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(4 << 20))
            self.end_headers()
            self.wfile.write(bytes(2 << 20))
            self.wfile.write(bytes(2 << 20) if seen.wait(30) else b"")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("CONCEPTRY_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    served = replace(SERVED, base_model="sd-v1-4", revision=None)
    studio = ModelWorker(served, base_dir=str(tmp_path))
    studio.start()
    page = [first_notice(served, studio, told) for told in studio.progress(0.05) if not seen.set()]
    assert "Fetching the base model, once: kcv_encoder.h5, 2 of 4 MB." in page[0] or "1 of 4 MB" in page[0]
    with pytest.raises(
        ModelUnavailableError, match=r"The weights of sd-v1-4 could not be fetched: kcv_encoder\.h5: what"
    ):
        studio.wait()
    assert "it was thrown away" in first_notice(served, studio)
    server.shutdown()
    thread.join()
    server.server_close()


def test_weights_that_cannot_be_reached_are_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONCEPTRY_BASE_URL", "http://127.0.0.1:9")
    served = replace(SERVED, base_model="sd-v1-4", revision=None)
    with pytest.raises(FetchError) as caught:
        load(served, str(tmp_path), lambda *_: None)
    said = explain(caught.value, served)
    assert "kcv_encoder.h5: http://127.0.0.1:9/kcv_encoder.h5" in said
    assert "refused" in said
    assert "CONCEPTRY_BASE_DIR" in said


def test_too_little_memory_is_said_before_the_machine_ends_the_process() -> None:
    assert too_little_memory("sd-v1-4", 2.0) == (
        "This machine has 2.0 GB of memory left, and sd-v1-4 needs about 5 GB: ask for larger hardware in concept.yaml "
        "(space.hardware)."
    )
    assert too_little_memory("sd-v1-4", 16.0) is None
    assert too_little_memory("tiny", None) is None
    free = free_memory()
    assert free is None or 0 < free < 100_000
