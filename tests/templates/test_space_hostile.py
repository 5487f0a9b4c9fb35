"""A Space whose strings are all hostile, started as Spaces start it: its page, its API, in a real Chromium."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from gradio_client import Client
from PIL import Image
from playwright.sync_api import expect

from tasks.space import render_space
from tests.support.chromium import needs_chromium
from tests.support.hostile import CORPUS, HOSTILE, settings_of, spec
from tests.support.space_pages import chromium, draw, fill_seed, opened
from tests.support.weights_mirror import NAMES, mirror, without_weights

# Whatever of this became more than text would leave an element of this class, or open a dialog.
EVIL = '<img src=x class=evil onerror="alert(1)">'
# As many letters as a prompt of `tiny` takes.
PROMPTS = ["<b class=evil>", "</p>\n'\"`${alert()}\\", "[a](b) **c** {{d}} $e$", "\u202e\u05d0\u05d1 \U0001f431"]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Space whose title is hostile, whose concept has no version yet, and that fetches its weights."""
    folder = tmp_path_factory.mktemp("space")
    cache = tmp_path_factory.mktemp("cache")
    concept = spec(space={"title": HOSTILE[:60]})
    render_space(folder, concept, settings_of(
        concept, title=HOSTILE, name=CORPUS[0], emoji=CORPUS[1], placeholder_token=CORPUS[2],
        model_repo=CORPUS[3], version=EVIL, revision=None, examples=[HOSTILE, *CORPUS],
    ))  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with mirror() as address:
        environment = {
            **os.environ, "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "PYTHONPATH": "",
            "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache), "CONCEPTRY_BASE_URL": address,
        }  # fmt: skip
        yield from started(without_weights(folder), environment, port)
    assert {path.name for path in (cache / "conceptry" / "tiny").iterdir()} == set(NAMES)


def started(folder: Path, environment: dict[str, str], port: int) -> Iterator[str]:
    """Start a rendered Space; its address."""
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        lines = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "Running on local URL" in line:
                break
        else:
            pytest.fail("the Space did not start:\n" + "".join(lines))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_the_page_shows_hostile_strings_as_text(space: str) -> None:
    page = httpx2.get(space, timeout=30).text
    config = httpx2.get(f"{space}/config", timeout=30).json()

    assert "<script>alert" not in page
    assert config["title"] == HOSTILE
    header = config["components"][0]["props"]["value"]
    assert "<script" not in header
    assert "<img" not in header
    prompts = next(c["props"]["samples"] for c in config["components"] if c["type"] == "dataset")
    assert prompts == [[HOSTILE], *([text] for text in CORPUS)]
    labels = [component["props"].get("label") for component in config["components"]]
    assert {"Playground", "Deploy", "Prompt", "Your token"} <= set(labels)
    token = next(c["props"] for c in config["components"] if c["props"].get("label") == "Your token")
    assert token["type"] == "password"


def test_the_api_draws_and_the_seed_makes_the_same_pictures_again(space: str) -> None:
    client = Client(space, verbose=False, download_files=str(Path(os.environ["HOME"]) / "gradio"))
    try:
        api = client.view_api(return_format="dict")
        assert list(api["named_endpoints"]) == ["/draw"], "only drawing may be called from outside"
        asked = {"prompt": "a large red circle", "guidance_scale": 3, "steps": 2, "num_images": 2, "api_name": "/draw"}
        drawn = [client.predict(**asked, seed=7), client.predict(**asked, seed=7)]
        pictures = [[Path(picture["image"]).read_bytes() for picture in gallery] for gallery, _ in drawn]
        assert len(pictures[0]) == 2
        assert pictures[0] == pictures[1]
        assert pictures[0][0] != pictures[0][1]
        assert [picture["caption"] for picture in drawn[0][0]] == ["seed 7", "seed 8"]
        assert drawn[0][1] == 7
        wide, seed = client.predict(prompt="a blue star", steps=1, num_images=1, size="96x64", api_name="/draw")
        with Image.open(wide[0]["image"]) as picture:
            assert picture.size == (96, 64)
        assert seed == client.predict(prompt="a blue star", steps=1, seed=seed, api_name="/draw")[1]
        for text in (HOSTILE, *CORPUS):
            hostile = {"prompt": text[:12], "negative_prompt": text[-12:], "steps": 1, "seed": 1}
            assert client.predict(**hostile, api_name="/draw")[1] == 1
        with pytest.raises(Exception, match="The prompt is too long"):
            client.predict(prompt="red circle " * 60, api_name="/draw")
    finally:
        client.close()


@needs_chromium
def test_a_browser_shows_hostile_strings_as_text(space: str) -> None:
    with chromium() as browser:
        page = opened(browser, space, versions=False)
        dialogs: list[str] = []
        page.context.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        assert page.title() == HOSTILE
        for where, text in (("h1", HOSTILE), (".chip.token", CORPUS[2]), (".chip >> nth=1", EVIL)):
            assert text in (page.locator(where).text_content() or "")
        expect(page.locator("#gallery label")).to_have_text(EVIL)
        expect(page.locator("#notice")).to_contain_text(CORPUS[2])
        page.locator("input[aria-label*='Steps'][type=number]").fill("1")
        fill_seed(page, 3)
        for text in PROMPTS:
            page.locator("#prompt textarea").fill(text)
            draw(page, 3)
            expect(page.locator("#link textarea")).to_have_value(re.compile("prompt="))
            link = page.locator("#link textarea").input_value()
            assert dict(parse_qsl(urlsplit(link).query))["prompt"] == text
            page.goto(link)
            expect(page.locator("#prompt textarea")).to_have_value(text)
            expect(page.locator("#seed input")).to_have_value("3")
        page.locator("#prompt textarea").fill(EVIL * 20)
        page.locator("#draw").click()
        expect(page.locator("#message")).to_contain_text("The prompt is too long")
        expect(page.locator("#stop")).to_be_disabled()
        assert page.locator(".evil").count() == 0
        assert not dialogs
