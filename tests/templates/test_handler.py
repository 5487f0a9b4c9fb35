"""The handler as an Inference Endpoint's server drives it: only the folder of a version on the path."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conceptry.concept import EndpointSpec
from emulators.hub.apps.toolkit import write_answer
from handler_template.handler import MAX_SEED, PARAMETERS, Answer, Answers, Request, parse
from tasks.hub.bundle import render_handler
from tests.support.weights_mirror import NAMES, mirror, without_weights

TEMPLATES = Path(__file__).resolve().parents[2]
TOOLKIT = TEMPLATES / "emulators" / "hub" / "apps" / "toolkit.py"


def locked(name: str) -> set[str]:
    """Versions of a package in uv.lock: one for each Python that needs its own."""
    lock = (TEMPLATES / "uv.lock").read_text(encoding="utf-8")
    return set(re.findall(rf'^name = "{re.escape(name)}"\nversion = "([^"]+)"', lock, re.MULTILINE))


@pytest.mark.parametrize("template", ["space_template", "handler_template"])
def test_requirements_are_what_we_test_with(template: str) -> None:
    lines = (TEMPLATES / template / "requirements.txt").read_text(encoding="utf-8").split()
    for line in lines:
        name, _, version = line.partition("==")
        assert version in locked(name.replace("_", "-")), f"{template}/requirements.txt: {line} is not in uv.lock"
    names = {line.partition("==")[0] for line in lines}
    assert names >= {"tensorflow", "keras", "pillow", "safetensors"}
    assert not names & {"keras-cv", "regex", "scipy"}, "KerasCV and what it brings is for pre-training and parity only"


HOSTILE = "</script>{{ }} \" ' \\ \n---\ntitle: x"
REQUESTS = [
    {"inputs": "a large red circle", "parameters": {"num_inference_steps": 2, "num_images": 2}},
    {"inputs": "red circle " * 50, "parameters": {"num_inference_steps": 1}},
    {
        "inputs": ["a red circle", "a blue star"],
        "parameters": {"num_inference_steps": 1, "format": "jpeg", "width": 96, "seed": 3},
    },
    {"inputs": "a red circle", "parameters": {"num_images": 8, "width": 1024, "height": 1024}},
    {"inputs": "a red circle", "parameters": {"width": 70}},
]
SERVER = """
import json, sys

folder, requests = sys.argv[1], json.loads(sys.argv[2])
# What the endpoint's container has: packages, and the folder of the version; not this checkout.
sys.path[:] = [folder, *(path for path in sys.path if "site-packages" in path or "lib/python" in path)]
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in repr(finder)]
import handler, trainer

assert trainer.__file__.startswith(folder), trainer.__file__
endpoint, answers = handler.EndpointHandler(folder), []
for request in requests:
    try:
        answers.append(endpoint(request))
        first = answers[-1][0] if isinstance(answers[-1], list) else answers[-1]
        request["parameters"]["seed"] = first["seed"]
        assert endpoint(request) == answers[-1], "the seed did not make the same pictures again"
    except Exception as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a rendered handler answers in a process of its own; each request is asked again with the seed it got."""
    folder = tmp_path_factory.mktemp("version")
    settings = json.loads((TEMPLATES / "handler_template" / "settings.json").read_text(encoding="utf-8"))
    render_handler(folder, {**settings, "title": HOSTILE, "examples": [HOSTILE]})
    assert json.loads((folder / "settings.json").read_text(encoding="utf-8"))["title"] == HOSTILE
    with mirror() as address:
        done = subprocess.run(
            [sys.executable, "-c", SERVER, str(without_weights(folder)), json.dumps(REQUESTS)],
            cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "CONCEPTRY_BASE_URL": address, "CONCEPTRY_BASE_DIR": str(folder / "base")},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in (folder / "base").iterdir()} == set(NAMES)
    assert "tiny.safetensors: 7 of 7 MB" in done.stderr, "the endpoint's log says what it waits for"
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_a_request_gets_pictures_and_their_seed(answers: list[dict[str, Any]]) -> None:
    pictures = [Image.open(io.BytesIO(base64.b64decode(image))) for image in answers[0]["images"]]
    assert [(picture.format, picture.size, picture.mode) for picture in pictures] == [("PNG", (64, 64), "RGB")] * 2
    assert 0 <= answers[0]["seed"] <= MAX_SEED


def test_a_prompt_that_does_not_fit_is_refused_in_words(answers: list[dict[str, Any]]) -> None:
    assert "the prompt is too long" in answers[1]["error"]


def test_several_prompts_and_jpeg(answers: list[Any]) -> None:
    assert [answer["seed"] for answer in answers[2]] == [3, 3]
    pictures = [Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))) for answer in answers[2]]
    assert [(picture.format, picture.size) for picture in pictures] == [("JPEG", (96, 64))] * 2


def test_too_much_is_refused_before_it_is_drawn(answers: list[Any]) -> None:
    assert "8,388,608 pixels are too many for one request, which may have 2,097,152" in answers[3]["error"]
    assert answers[4]["error"] == "width and height must be multiples of 16 from 64 to 1024 pixels"


def test_a_handler_of_ones_own_takes_the_place_of_the_template(tmp_path: Path) -> None:
    settings = json.loads((TEMPLATES / "handler_template" / "settings.json").read_text(encoding="utf-8"))
    own = "from words import say\n\nclass EndpointHandler:\n    def __init__(self, path): self.path = path\n"
    own += "    def __call__(self, data): return say(data['inputs'])\n"
    override = {"handler.py": own, "words.py": "def say(text): return [text.upper()]\n", "requirements.txt": "x==1\n"}
    render_handler(tmp_path, settings, EndpointSpec(override=override).override)

    assert (tmp_path / "requirements.txt").read_text() == "x==1\n"
    program = (
        "import sys, toolkit; from pathlib import Path; print(toolkit.load_handler(Path(sys.argv[1]))({'inputs': 'a'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(TOOLKIT.parent)},
    )  # fmt: skip
    assert done.stdout == "['A']\n"


def test_an_answer_is_json_or_a_picture_by_what_is_accepted() -> None:
    red, blue = (Answer(Request("x", seed=5), [Image.new("RGB", (8, 8), colour)]) for colour in ("red", "blue"))
    kind, content = write_answer(red, "application/json")
    assert (kind, json.loads(content)["seed"]) == ("application/json", 5)
    for accept, form in (("image/png", "PNG"), ("image/jpeg", "JPEG")):
        kind, content = write_answer(Answers([blue, red]), accept)
        picture = Image.open(io.BytesIO(content))
        assert (kind, picture.format) == (accept, form)
        assert picture.convert("RGB").getpixel((0, 0))[2] > 200, "the first prompt's picture"
    # What the Hub's own server asks before it makes a picture of an answer.
    assert isinstance(red, Image.Image)
    assert isinstance(Answers([red]), Image.Image)


def test_everything_wrong_with_a_request_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="inputs must be a prompt") as caught:
        parse({"inputs": " ", "parameters": {"seed": -1, "steps": 3, "num_images": 99, "guidance_scale": "high"}})
    message = str(caught.value)
    for words in ("unknown parameters steps; there are negative_prompt", "seed must be a whole number from 0 to",
                  "num_images must be a whole number from 1 to 8", "guidance_scale must be a number"):  # fmt: skip
        assert words in message
    for cut in ({"inputs": "a \ud83d"}, {"inputs": "a", "parameters": {"negative_prompt": "\udc31"}}):
        with pytest.raises(ValueError, match=r"must be a (prompt, a )?text of"):
            parse(cut)
    with pytest.raises(ValueError, match="the body must be an object"):
        parse(["a prompt"])  # type: ignore[arg-type]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=9), children, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from([*PARAMETERS, "other"])


@given(st.dictionaries(keys, json_values), json_values)
def test_no_request_gets_through_unchecked(parameters: dict[str, Any], inputs: Any) -> None:
    try:
        requests = parse({"inputs": inputs, "parameters": parameters})
    except ValueError:
        return
    assert [request.prompt for request in requests] == (inputs if isinstance(inputs, list) else [inputs])
    for request in requests:
        assert 0 <= request.seed <= MAX_SEED
        assert 1 <= request.num_images <= 8
        assert request.steps is None or 1 <= request.steps <= 200
        assert request.guidance_scale is None or 0 <= request.guidance_scale <= 50
        assert request.format in ("png", "jpeg")
        assert all(side is None or 64 <= side <= 1024 for side in (request.width, request.height))
