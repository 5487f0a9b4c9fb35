"""What a concept may put in the place of a template's files."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from conceptry.concept import EndpointSpec, SpaceSpec, load_spec
from conceptry.errors import SpecError
from conceptry.fingerprint import serving_fingerprint
from conceptry.space_settings import serving_settings
from tests.support.plan_worlds import TINY, spec_of
from trainer.metrics import TrainingMetrics

GOOD = """
class EndpointHandler:
    def __init__(self, path=""):
        self.path = path

    def __call__(self, data):
        return data
"""


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "from mine import Handler as EndpointHandler",
        "from mine import Base\nclass EndpointHandler(Base):\n    def __call__(self, data, seed=1): ...",
        "class EndpointHandler:\n    def __init__(self, *paths): ...\n    def __call__(self, data, **more): ...",
    ],
)
def test_a_handler_that_keeps_the_contract(text: str) -> None:
    assert EndpointSpec(override={"handler.py": text, "requirements.txt": "x==1"}).override["handler.py"] == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "handler.py has no class EndpointHandler: an endpoint makes EndpointHandler"),
        ("class Endpointhandler: ...", "has no class EndpointHandler"),
        ("if 1:\n  class EndpointHandler(", r"handler.py, line 2 is not Python"),
        ("\0", "handler.py.* is not Python"),
        ("class EndpointHandler:\n    def __call__(self, data): ...", "a class EndpointHandler without __init__"),
        (GOOD.replace("__call__", "call"), "a class EndpointHandler without __call__"),
        (GOOD.replace("self, data", "self"), r"line 6: EndpointHandler.__call__ must be a plain method"),
        (GOOD.replace("self, data", "self, data, more"), "EndpointHandler.__call__ must be a plain method"),
        (GOOD.replace("self, data", "self, data, *, more"), "EndpointHandler.__call__ must be a plain method"),
        (GOOD.replace("def __call__", "async def __call__"), "EndpointHandler.__call__ must be a plain method"),
        (GOOD.replace('path=""', "path, more"), "EndpointHandler.__init__ must be a plain method"),
    ],
)
def test_a_handler_that_does_not(text: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        EndpointSpec(override={"handler.py": text})


def test_programs_are_parsed_and_names_are_those_of_a_template() -> None:
    with pytest.raises(ValidationError, match=r"theme\.py, line 1 is not Python"):
        SpaceSpec(override={"theme.py": "def"})
    with pytest.raises(ValidationError, match="is not a file of a template"):
        EndpointSpec(override={"trainer/sampling/sampler.py": ""})
    with pytest.raises(SpecError, match=r"endpoint.override: handler.py has no class EndpointHandler"):
        load_spec(
            "placeholder_token: <x>\ninitializer_token: cat\nendpoint:\n  override:\n    handler.py: x = 1\n",
            "concept.yaml",
        )


@given(
    st.text(max_size=60) | st.from_regex(r"class EndpointHandler:\n( def __(init|call)__\([a-z*=, 1]{0,9}\): 1\n){2}")
)
def test_whatever_is_accepted_is_a_program_with_the_class(text: str) -> None:
    try:
        accepted = EndpointSpec(override={"handler.py": text}).override["handler.py"]
    except ValidationError:
        return
    names = {getattr(node, "name", "") for node in ast.parse(accepted).body}
    assert "EndpointHandler" in names or "import" in accepted


def test_a_handler_of_ones_own_belongs_to_the_version_and_renders_no_space_again() -> None:
    plain, ours = spec_of(), spec_of(endpoint={"override": {"handler.py": GOOD}})
    assert serving_fingerprint(plain, None, "t") == serving_fingerprint(ours, None, "t")
    settings = serving_settings(
        "my-cat", ours, TINY, version_name="v1", metrics=TrainingMetrics(), model_repo="ann/my-cat", revision=None
    )
    assert "override" not in settings["endpoint"]
