"""The Space as people meet it: a rendered folder, started as Spaces start it, with whatever strings a concept has."""

import asyncio
import json
import re
from dataclasses import fields
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from space_template.app import build
from space_template.deploy import lead_html, steps_html, usage_html
from space_template.loading import ModelUnavailableError
from space_template.messages import errors_on_the_page, told
from space_template.model_worker import ModelWorker
from space_template.request import DrawingRequest, restored
from space_template.settings import SpaceSettings, facts, read_settings
from space_template.theme import facts_html, header_html, line_html, notice_html
from tasks.space import render_space
from tests.support.hostile import CORPUS, HOSTILE, settings_of, spec
from trainer.metrics import ClipScore, ClipScores, TrainingMetrics

IN_A_LINK = ("prompt", "negative", "guidance", "steps", "pictures", "seed", "size", "compare")
TEMPLATE = Path(__file__).resolve().parents[2] / "space_template"


class Tags(HTMLParser):
    """Collects the tags and the text of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def served(**changes: Any) -> SpaceSettings:
    example = read_settings(TEMPLATE / "settings.json")
    return SpaceSettings(**{**example.__dict__, **changes})


def one_line_end(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(st.one_of(st.just(HOSTILE), st.text(max_size=50)))
def test_html_holds_strings_as_text(text: str) -> None:
    something = served(title=text, emoji=text, placeholder_token=text, placeholder_tokens=(text,), model_repo=text)

    published = SpaceSettings(**{**something.__dict__, "version": text or "v1", "revision": "f" * 40})

    assert set(Tags(header_html(something)).tags) == {"div", "span", "h1"}
    assert set(Tags(header_html(published)).tags) == {"div", "span", "h1", "a"}
    assert set(Tags(facts_html(facts(something))).tags) == {"dl", "dt", "dd"}
    assert set(Tags(lead_html(published)).tags) == {"p", "strong", "br", "small", "code"}
    assert set(Tags(usage_html("http://127.0.0.1", published, "public")).tags) == {"div", "code"}
    assert set(Tags(steps_html([text, text])).tags) == {"ol", "li"}
    assert Tags(notice_html(text)).tags == ["div"]
    # A browser reads every kind of line end as one; Python's parser does in some releases only.
    assert one_line_end(Tags(notice_html(text)).text) == one_line_end(text) or "\0" in text


def test_clip_scores_are_facts_where_the_trainer_had_a_model() -> None:
    image, text = ClipScore(initializer=60.0, trained=74.56), ClipScore(initializer=25.04, trained=23.0)
    pairs = facts(served(metrics=TrainingMetrics(clip=ClipScores(image=image, text=text))))
    assert [value for name, value in pairs if name == "CLIP score"] == [
        "60.0 → 74.6 with the pictures",
        "25.0 → 23.0 with the initializer's words",
    ]
    for lacking in (None, ClipScores(), ClipScores(image=ClipScore(trained=1.0))):
        pairs = facts(served(metrics=TrainingMetrics(clip=lacking)))
        assert not [name for name, _ in pairs if name == "CLIP score"]


@settings(max_examples=6)
@given(st.sampled_from([HOSTILE, *CORPUS]) | st.text(min_size=1, max_size=50), st.sampled_from([None, "f" * 40]))
def test_the_page_is_the_same_but_for_the_strings_themselves(text: str, revision: str | None) -> None:
    plain, hostile = (json.loads(config_of(word, revision)) for word in ("aword", text))

    assert [component["type"] for component in plain] == [component["type"] for component in hostile]
    for ours, theirs in zip(plain, hostile, strict=True):
        if ours["type"] == "html":
            before, after = Tags(ours["props"].pop("value") or ""), Tags(theirs["props"].pop("value") or "")
            assert (before.tags, before.attributes) == (after.tags, after.attributes)
        if ours["type"] == "dataset":
            del ours["props"]["component_ids"], theirs["props"]["component_ids"]
        if ours["type"] == "markdown":
            assert ours["props"] == theirs["props"], "no string of a concept is taken for Markdown"
        # Such a string is all of a value, never a part of one that something might read.
        assert _with(ours["props"], text) == theirs["props"]


@cache
def config_of(text: str, revision: str | None) -> str:
    """JSON of what a browser is told of the page's components when every string of a concept is the same one."""
    something = served(
        title=text, emoji=text, placeholder_token=text, placeholder_tokens=(text,), model_repo=text, version=text,
        revision=revision, examples=(text,), metrics=TrainingMetrics(base_model=text, stopped=text),
        learnable_property=text,
    )  # fmt: skip

    async def config() -> str:
        return json.dumps(build(something, ModelWorker(something)).get_config_file()["components"], default=str)

    # Gradio leaves a loop of its own unclosed where none runs.
    return asyncio.run(config())


def _with(value: Any, text: str) -> Any:
    """The same with `text` wherever the plain word was."""
    if isinstance(value, dict):
        return {key: _with(inner, text) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with(inner, text) for inner in value]
    return text if value == "aword" else value


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("the size <b>7</b> is odd"), "The size <b>7</b> is odd"),
        (ModelUnavailableError("There is no version <img src=x>."), "There is no version <img src=x>."),
        (MemoryError(), "The machine ran out of memory: ask for fewer or smaller pictures."),
        (UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "surrogates"), "The prompt holds half a character"),
        (RuntimeError("<script>"), "The drawing failed (RuntimeError): <script>"),
    ],
)
def test_whatever_goes_wrong_is_said_on_the_page_as_text(error: Exception, said: str) -> None:
    with pytest.raises(gr.Error) as caught, errors_on_the_page():
        raise error
    assert "<" not in caught.value.message, "Gradio takes it for HTML"
    assert told(caught.value).startswith(said)
    assert Tags(line_html(told(caught.value), bad=True)).tags == ["p"]


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
    assert {field.name for field in fields(DrawingRequest)} == set(IN_A_LINK)
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
