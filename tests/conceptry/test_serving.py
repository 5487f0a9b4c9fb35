"""settings.json: what the Space and the handler are told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from conceptry.errors import HubError
from conceptry.serving import SERVING_MODULES, as_trained, placeholder_tokens, serving_settings
from tests.conceptry.worlds import BASES, TINY, spec_of, version_of


def test_settings() -> None:
    settings = serving_settings("my-cat", spec_of(), TINY, "v2", {"steps": 300}, "ann/my-cat", "c" * 40)
    assert json.loads(json.dumps(settings)) == settings
    assert settings == {
        "name": "my-cat",
        "title": "My cat",
        "emoji": "🎨",
        "placeholder_token": "<my-cat>",
        "placeholder_tokens": ["<my-cat>"],
        "learnable_property": "object",
        "base_model": "tiny",
        "resolution": 64,
        "model_repo": "ann/my-cat",
        "version": "v2",
        "revision": "c" * 40,
        "metrics": {"steps": 300},
        "examples": settings["examples"],
        "endpoint": settings["endpoint"],
    }
    assert settings["examples"][0] == "a photo of <my-cat>"


def test_a_style_with_several_vectors_and_a_title() -> None:
    spec = spec_of(learnable_property="style", num_vectors=3, space={"title": "Ann's way"}, resolution=256)
    settings = serving_settings("my-cat", spec, BASES["sd-v1-4"], "v1", {}, "ann/my-cat", None)
    assert settings["placeholder_tokens"] == ["<my-cat>", "<my-cat>_1", "<my-cat>_2"] == [*placeholder_tokens(spec)]
    assert all("style of <my-cat>" in example for example in settings["examples"])
    assert (settings["title"], settings["resolution"], settings["revision"]) == ("Ann's way", 256, None)


def test_an_old_version_is_served_with_its_own_token() -> None:
    old = version_of(1, spec={"placeholder_token": "<old>", "num_vectors": 2, "training": {"seed": 3}})
    spec = as_trained(spec_of(base_model="sd-v1-4", space={"title": "New"}), old)
    assert (spec.placeholder_token, spec.num_vectors, spec.base_model, spec.resolution) == ("<old>", 2, "tiny", 64)
    assert spec.training.seed == 3
    assert spec.space.title == "New"


def test_a_record_that_somebody_edited_is_not_served() -> None:
    with pytest.raises(HubError, match="the record of v1 cannot be served: num_vectors"):
        as_trained(spec_of(), replace(version_of(1), spec={"num_vectors": "many"}))


def test_the_listed_modules_exist(repo_root: Path) -> None:
    assert [path for path in SERVING_MODULES if not (repo_root / path).is_file()] == []
