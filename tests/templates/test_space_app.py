"""The Space as people meet it: a rendered folder, started as Spaces start it, with whatever strings a concept has."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from gradio_client import Client
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conceptry.concept import BaseModel, ConceptSpec
from conceptry.serving import serving_settings
from space_template.asked import LINK_JS, restored
from space_template.deploy import lead_html, steps_html, usage_html
from space_template.look import facts_html, header_html, notice_html
from space_template.served import Served, facts, read_settings
from tasks.space import render_space
from tests.templates.mirror import NAMES, mirror, without_weights

CORPUS = [
    'it\'s "quoted" {braces} ${dollars} %s `ticks`',
    "two\nlines\r\n---\ntitle: other",
    "{{ config }} {% raw %} \\u003cscript\\u003e",
    "[click](javascript:alert(1)) **bold** | a | $x^2$",
    "\u202e \u2028 \x00 \x85 \U0001f431",
]
HOSTILE = '</script><script>alert("x")</script> {braces} ${d} \' " \\ *bold* <img src=x onerror=alert(1)>'
IN_A_LINK = ("prompt", "negative", "guidance", "steps", "pictures", "seed", "size", "compare")
TEMPLATE = Path(__file__).resolve().parents[2] / "space_template"


def spec(**changes: Any) -> ConceptSpec:
    return ConceptSpec.model_validate({"placeholder_token": "<my-cat>", "initializer_token": "cat", **changes})


def settings_of(spec: ConceptSpec, **changes: Any) -> dict[str, Any]:
    base = BaseModel("tiny", "d" * 64, 1, 64)
    metrics = {"loss": {"initializer": 0.1, "trained": 0.05, "improvement": 0.5}, "images": {"train": 4}, "steps": 300}
    made = serving_settings("my-cat", spec, base, "v2", metrics, "local/my-cat", "f" * 40)
    return {**made, **changes}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Space whose title is hostile, whose concept has no version yet, and that fetches its weights."""
    folder = tmp_path_factory.mktemp("space")
    cache = tmp_path_factory.mktemp("cache")
    concept = spec(space={"title": HOSTILE[:60]})
    render_space(folder, concept, settings_of(
        concept, title=HOSTILE, name=CORPUS[0], emoji=CORPUS[1], placeholder_token=CORPUS[2], version=None,
        revision=None, examples=[HOSTILE, *CORPUS],
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
        with pytest.raises(Exception, match="the prompt is too long"):
            client.predict(prompt="red circle " * 60, api_name="/draw")
    finally:
        client.close()


class Tags(HTMLParser):
    """Collects the tags and the text of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def served(**changes: Any) -> Served:
    example = read_settings(TEMPLATE / "settings.json")
    return Served(**{**example.__dict__, **changes})


@given(st.one_of(st.just(HOSTILE), st.text(max_size=50)))
def test_html_holds_strings_as_text(text: str) -> None:
    something = served(title=text, emoji=text, placeholder_token=text, placeholder_tokens=(text,), model_repo=text)

    published = Served(**{**something.__dict__, "version": text or "v1", "revision": "f" * 40})

    assert set(Tags(header_html(something)).tags) == {"div", "span", "h1"}
    assert set(Tags(header_html(published)).tags) == {"div", "span", "h1", "a"}
    assert set(Tags(facts_html(facts(something))).tags) == {"dl", "dt", "dd"}
    assert set(Tags(lead_html(published)).tags) == {"p", "strong", "br", "small", "code"}
    assert set(Tags(usage_html("http://127.0.0.1", published, "public")).tags) == {"div", "code"}
    assert set(Tags(steps_html([text, text])).tags) == {"ol", "li"}
    assert Tags(notice_html(text)).tags == ["div"]
    assert Tags(notice_html(text)).text == text.replace("\r\n", "\n").replace("\r", "\n") or "\0" in text


@given(st.dictionaries(st.sampled_from(IN_A_LINK), st.text(max_size=12) | (st.floats() | st.integers()).map(str)))
def test_a_link_asks_for_nothing_that_the_page_does_not_offer(query: dict[str, str]) -> None:
    asked = restored(query, served())
    if asked is None:
        assert "prompt" not in query
        return
    assert asked.prompt == query["prompt"]
    assert 1 <= asked.guidance <= 15
    assert 1 <= asked.steps <= 100
    assert 1 <= asked.pictures <= 8
    assert 0 <= asked.seed < 2**31
    assert asked.sides in ((64, 64), (96, 64), (64, 96), (96, 96))


def test_a_link_says_what_it_restores() -> None:
    for name in IN_A_LINK:
        assert re.search(rf"\b{name}\b", LINK_JS)
    query = {"prompt": "a star", "guidance": "4.5", "steps": "30", "pictures": "2", "seed": "9", "size": "96x64"}
    asked = restored(query, served())
    assert asked is not None
    assert (asked.guidance, asked.steps, asked.pictures, asked.seed, asked.sides) == (4.5, 30, 2, 9, (96, 64))


def test_a_rendered_space_is_complete_and_says_what_it_is(tmp_path: Path) -> None:
    title = 'It\'s "my" cat: {x} # [y] \U0001f431'
    concept = spec(space={"title": title, "emoji": "\U0001f431", "hardware": "t4-small"})
    folder = render_space(tmp_path / "space", concept, settings_of(concept))

    front = (folder / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    assert re.search(r"^sdk: gradio$", front, re.MULTILINE)
    data = yaml.safe_load(front)
    assert (data["title"], data["emoji"], data["suggested_hardware"]) == (title, "\U0001f431", "t4-small")
    assert (data["sdk_version"], data["app_file"], data["models"]) == ("6.31.0", "app.py", ["local/my-cat"])
    assert json.loads((folder / "settings.json").read_text(encoding="utf-8"))["version"] == "v2"
    assert "tensorflow[and-cuda]==" in (folder / "requirements.txt").read_text(encoding="utf-8")
    for source in TEMPLATE.glob("*.py"):
        target = folder / source.name if source.name == "app.py" else folder / "space_template" / source.name
        assert target.read_bytes() == source.read_bytes(), "templates are copied, never written into"


def test_settings_that_lack_something_are_named(tmp_path: Path) -> None:
    whole = json.loads((TEMPLATE / "settings.json").read_text(encoding="utf-8"))
    del whole["model_repo"]
    (tmp_path / "settings.json").write_text(json.dumps(whole))
    with pytest.raises(ValueError, match=r"settings.json lacks the key 'model_repo'"):
        read_settings(tmp_path / "settings.json")
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"settings.json cannot be read"):
        read_settings(tmp_path / "settings.json")
