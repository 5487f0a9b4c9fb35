"""The Space in a real Chromium: draw, stop, share, compare, deploy. Skipped where there is no Chromium."""

import io
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from huggingface_hub import HfApi
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from conceptry.concept import BaseModel as Base
from conceptry.concept import ConceptSpec
from conceptry.space_settings import serving_settings
from emulators.hub.apps.limits import Limits
from emulators.hub.server import running
from tasks.hub.bundle import render_handler
from tasks.space import render_space
from tests.support.chromium import needs_chromium
from tests.support.space_pages import chromium, draw, fill_seed, opened, pictures
from trainer import export
from trainer.base_weights.base_model import BaseModel
from trainer.metrics import TrainingMetrics

pytestmark = [needs_chromium, pytest.mark.xdist_group("space in a browser")]
TITLE = "A <img src=x onerror=alert(1)> {title} & 'more' \"quotes\""
SPEC = ConceptSpec.model_validate(
    {
        "placeholder_token": "<my-thing>", "initializer_token": "circle",
        "space": {"title": TITLE}, "endpoint": {"instance_type": "intel-icl", "instance_size": "x2"},
    }
)  # fmt: skip
MEANS = {"v1": "star", "v2": "heart"}
"""What the token of each version stands for: the vector of a word that the tiny model knows."""


@dataclass(frozen=True)
class Running:
    """A Space's address, and the client of the Hub that its endpoints are made on."""

    url: str
    hub: HfApi
    revisions: dict[str, str]


def settings_of(version: str | None, revision: str | None) -> dict[str, Any]:
    base, metrics = Base("tiny", "d" * 64, 1, 64), TrainingMetrics()
    made = serving_settings(
        "my-thing", SPEC, base, version_name="", metrics=metrics, model_repo="local/my-thing", revision=revision
    )
    return {**made, "version": version}


def publish(api: HfApi, folder: Path, version: str, base: BaseModel) -> str:
    """Publish a version whose token means what a known word means; its commit."""
    tokenizer = base.tokenizer("<my-thing>")
    encoder = base.text_encoder(tokenizer.vocabulary)
    rows = np.asarray(encoder.table)[tokenizer.ids(MEANS[version])]
    export.saved_model(folder / "text_encoder", encoder, rows, tokenizer.prompt_length)
    render_handler(folder, settings_of(None, None))
    api.create_branch("local/my-thing", branch=version)
    return str(api.upload_folder(repo_id="local/my-thing", folder_path=folder, revision=version).oid)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The Space of v2, with v1 to compare, on a Hub that runs endpoints."""
    folder = tmp_path_factory.mktemp("served")
    base = BaseModel("tiny")
    with running(folder / "hub", limits=Limits(apps=1)) as hub:
        api = HfApi(endpoint=hub.url, token="hf_local")
        api.create_repo("local/my-thing")
        revisions = {}
        for version in MEANS:
            (folder / version).mkdir()
            revisions[version] = publish(api, folder / version, version, base)
        place = render_space(folder / "space", SPEC, settings_of("v2", revisions["v2"]))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        environment = {
            **os.environ, "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "PYTHONUNBUFFERED": "1",
            "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(folder / "cache"),
        }  # fmt: skip
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([sys.executable, "app.py"], cwd=place, env=environment, stdout=log, stderr=log)
            try:
                yield Running(f"http://127.0.0.1:{port}", api, revisions)
            finally:
                process.terminate()
                process.wait(timeout=30)
                print((folder / "log").read_text()[-3000:])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def pixels(picture: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(picture)), "int32")


def test_the_same_seed_draws_the_same_bytes_and_a_link_asks_for_them_again(space: Running, browser: Browser) -> None:
    page = opened(browser, space.url)
    assert page.locator("h1").inner_text() == TITLE
    fill_seed(page, 41)
    first = draw(page, 41)
    assert len(first) == 4
    assert draw(page, 41) == first
    fill_seed(page, 42)
    assert draw(page, 42)[0] == first[1], "the second picture's seed draws it first"

    expect(page.locator("#link textarea")).to_have_value(re.compile("seed=42"))
    shared = opened(browser, page.locator("#link textarea").input_value())
    expect(shared.locator("#seed input")).to_have_value("42")
    assert draw(shared, 42)[0] == first[1]


def test_a_click_on_a_picture_keeps_the_seed_that_makes_it_again(space: Running, browser: Browser) -> None:
    page = opened(browser, space.url)
    fill_seed(page, 41)
    first = draw(page, 41)
    page.locator("#new-seed input").check()
    page.locator("#gallery .grid-container button").nth(2).click()
    expect(page.locator("#seed input")).to_have_value("43")
    expect(page.locator("#new-seed input")).not_to_be_checked()
    expect(page.locator("#gallery")).to_contain_text("seed 43")
    page.keyboard.press("Escape")
    # Alone or elsewhere in a batch, sums are rounded in another order.
    assert np.abs(pixels(draw(page, 43)[0]) - pixels(first[2])).max() <= 1
    assert np.abs(pixels(first[1]) - pixels(first[2])).max() > 50


def test_stop_ends_a_drawing_and_one_that_waits_for_its_turn(space: Running, browser: Browser) -> None:
    page = opened(browser, space.url)
    page.locator("input[aria-label*='Steps'][type=number]").fill("100")
    page.locator("input[aria-label*='Pictures'][type=number]").fill("8")
    behind = opened(browser, space.url)
    page.locator("#draw").click()
    expect(page.locator("#message")).to_have_text("Drawing …")
    behind.locator("#draw").click()
    expect(behind.locator("#message")).to_have_text("Waiting for its turn …")
    behind.locator("#stop").click()
    expect(behind.locator("#message")).to_have_text("Stopped.")
    expect(page.locator("#stop")).to_be_enabled()
    page.locator("#stop").click()
    expect(page.locator("#message")).to_have_text("Stopped.")
    page.locator("input[aria-label*='Steps'][type=number]").fill("2")
    fill_seed(page, 5)
    assert draw(page, 5), "what was stopped does not stand in the way of the next"


def test_two_versions_side_by_side(space: Running, browser: Browser) -> None:
    page = opened(browser, space.url)
    fill_seed(page, 7)
    page.locator("#compare input").click()
    page.get_by_role("option", name="v1").click()
    ours = draw(page, 7)
    other = pictures(page, "#other")
    assert len(ours) == len(other) == 4
    assert not set(ours) & set(other), "v1 and v2 mean other things"
    expect(page.locator("#other")).to_contain_text("v1")


def test_deploying_to_an_endpoint_that_answers(space: Running, browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, space.url)
    page.get_by_role("tab", name="Deploy").click()
    page.locator("#token input").fill("hf_wrong")
    page.locator("#connect").click()
    expect(page.locator("#connected")).to_contain_text("The token was refused")
    page.locator("#token input").fill("hf_local")
    page.locator("#connect").click()
    expect(page.locator("#connected")).to_contain_text("Connected as local")
    expect(page.locator("#price")).to_contain_text("$0.07 an hour at most, nothing while it sleeps")
    page.locator("#create").click()
    expect(page.locator("#deployed")).to_contain_text("It drew its first picture", timeout=180_000)
    expect(page.locator("#first img")).to_be_visible()

    made = _endpoint(page, space)
    assert made["model"]["revision"] == space.revisions["v2"]
    answer = httpx2.post(
        made["status"]["url"],
        json={"inputs": "a photo of <my-thing>", "parameters": {"seed": 3, "num_inference_steps": 2}},
        headers={"Authorization": "Bearer hf_local", "Accept": "image/jpeg"},
        timeout=60,
    )
    assert Image.open(io.BytesIO(answer.content)).format == "JPEG"
    ours, theirs = what_the_docs_draw(tmp_path, space.url, made["status"]["url"])
    assert np.abs(pixels(ours) - pixels(theirs)).max() <= 2, "Space and endpoint draw the same"
    expect(page.locator("#endpoints")).to_contain_text("my-thing")
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#delete").click()
    expect(page.locator("#changed")).to_contain_text("my-thing is deleted.")
    expect(page.locator("#endpoints")).to_contain_text("There is none")
    assert "hf_local" not in page.content()


def what_the_docs_draw(folder: Path, space: str, endpoint: str) -> list[bytes]:
    """The pictures that the examples of docs/spaces.md get from the Space and from the endpoint."""
    text = (Path(__file__).parents[2] / "docs" / "spaces.md").read_text(encoding="utf-8")
    for old, new in (("<my-cat>", "<my-thing>"), ("http://127.0.0.1:7860", space), ("http://127.0.0.1:8080", endpoint)):
        text = text.replace(old, new)
    environment = {**os.environ, "HF_TOKEN": "hf_local", "GRADIO_TEMP_DIR": str(folder)}
    program = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    seed, path, *caption = done.stdout.splitlines()[-1].split()
    assert [seed, *caption] == ["7", "seed", "7"]
    return [Path(path).read_bytes(), (folder / "cat.png").read_bytes()]


def _endpoint(page: Page, space: Running) -> dict[str, Any]:
    found = page.request.get(
        f"{space.hub.endpoint}/v2/endpoint/local/my-thing", headers={"Authorization": "Bearer hf_local"}
    )
    made: dict[str, Any] = found.json()
    return made


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(space: Running, browser: Browser, scheme: str) -> None:
    page = opened(browser, space.url, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    for tab in ("Playground", "Deploy"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{tab} is too wide"
    ground = Image.open(io.BytesIO(page.screenshot())).convert("L").getpixel((2, 400))
    assert (ground > 200) == (scheme == "light")
