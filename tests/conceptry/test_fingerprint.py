"""What is a reason to train, what is a reason to render, and what is neither."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptry.desired import ImageRef
from conceptry.fingerprint import (
    content_keys,
    equivalent_fingerprints,
    serving_changes,
    serving_fingerprint,
    training_fingerprint,
)
from tests.support.plan_worlds import TINY, images_of, spec_of, version_of

ABC = images_of("abc")
DEFAULTS = {"training.max_steps": 200, "training.batch_size": 8, "training.flips": False}
MD5S = st.text("0123456789abcdef", min_size=32, max_size=32)


def test_the_same_inputs_have_the_same_fingerprint_forever() -> None:
    # Written down here: if it changes, every concept of every installation is trained again.
    fingerprint = training_fingerprint(spec_of(), ABC, TINY)
    assert fingerprint == "f62e20ba9e6f0c9d012f3d7c39c0f81ac9db89e89a986f093c731798b96ae19f"


@given(st.lists(MD5S, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_names_and_order_of_images_do_not_count(md5s: list[str], random: Any) -> None:
    images = [ImageRef(f"{number}.jpg", md5) for number, md5 in enumerate(md5s)]
    renamed = [ImageRef(f"other/{number}.png", md5) for number, md5 in enumerate(random.sample(md5s, len(md5s)))]
    assert training_fingerprint(spec_of(), images, TINY) == training_fingerprint(spec_of(), renamed, TINY)


@given(st.sets(MD5S, min_size=2, max_size=6))
def test_every_image_counts(md5s: set[str]) -> None:
    images = [ImageRef(f"{md5}.jpg", md5) for md5 in md5s]
    assert training_fingerprint(spec_of(), images, TINY) != training_fingerprint(spec_of(), images[1:], TINY)


@pytest.mark.parametrize(
    "changes",
    [
        {"placeholder_token": "<other>"},
        {"initializer_token": "dog"},
        {"learnable_property": "style"},
        {"num_vectors": 2},
        {"resolution": 128},
        {"training": {"max_steps": 100}},
        {"training": {"learning_rate": 0.1}},
        {"training": {"batch_size": 2}},
        {"training": {"early_stopping": False}},
        {"training": {"seed": 1}},
        {"training": {"held_out": 2}},
        {"training": {"mask": "alpha"}},
    ],
    ids=str,
)
def test_training_keys_are_a_reason_to_train_but_not_to_render(changes: dict[str, Any]) -> None:
    assert training_fingerprint(spec_of(**changes), ABC, TINY) != training_fingerprint(spec_of(), ABC, TINY)
    assert serving_fingerprint(spec_of(**changes), None, "t") == serving_fingerprint(spec_of(), None, "t")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"space": {"title": "A cat"}}, "title"),
        ({"space": {"emoji": "🐈"}}, "emoji"),
        ({"space": {"hardware": "t4-small"}}, "hardware"),
        ({"space": {"private": True}}, "private"),
        ({"endpoint": {"region": "eu-west-1"}}, "endpoint"),
    ],
    ids=str,
)
def test_serving_keys_are_a_reason_to_render_but_not_to_train(changes: dict[str, Any], part: str) -> None:
    before, after = serving_fingerprint(spec_of(), None, "t"), serving_fingerprint(spec_of(**changes), None, "t")
    assert serving_changes(before, after) == (part,)
    assert training_fingerprint(spec_of(**changes), ABC, TINY) == training_fingerprint(spec_of(), ABC, TINY)


@pytest.mark.parametrize(
    "changes",
    [{"release": "v1"}, {"retrain": {"every_days": 3}}, {"suspend": True}, {"gate": {"min_improvement": 0.5}}],
    ids=str,
)
def test_what_only_the_plan_reads_is_no_reason_for_either(changes: dict[str, Any]) -> None:
    assert training_fingerprint(spec_of(**changes), ABC, TINY) == training_fingerprint(spec_of(), ABC, TINY)
    assert serving_fingerprint(spec_of(**changes), None, "t") == serving_fingerprint(spec_of(), None, "t")


def test_the_base_model_and_the_recipe_count() -> None:
    bases = [TINY, replace(TINY, digest="9" * 64), replace(TINY, recipe=2), replace(TINY, name="other")]
    assert len({training_fingerprint(spec_of(), ABC, base) for base in bases}) == 4


def test_a_retraining_is_another_version_of_the_same_inputs() -> None:
    dates = (None, "2026-11-01", "2026-12-01")
    assert len({training_fingerprint(spec_of(), ABC, TINY, retrain) for retrain in dates}) == 3


def test_the_presets_own_values_written_out_change_nothing() -> None:
    assert training_fingerprint(spec_of(resolution=64), ABC, TINY) == training_fingerprint(spec_of(), ABC, TINY)


@pytest.mark.parametrize("written", [{"max_steps": 200}, {"flips": False}, {"batch_size": 8}], ids=str)
def test_a_default_written_out_is_the_same_as_one_left_out(written: dict[str, Any]) -> None:
    base, literal = replace(TINY, defaults=DEFAULTS), training_fingerprint(spec_of(training=written), ABC, TINY)
    assert training_fingerprint(spec_of(training=written), ABC, base) == training_fingerprint(spec_of(), ABC, TINY)
    for spec in (spec_of(), spec_of(training=written)):
        assert literal in equivalent_fingerprints(spec, ABC, base), "a version of an earlier release has this one"
    assert literal not in equivalent_fingerprints(spec_of(training={"seed": 1}), ABC, base)


@pytest.mark.parametrize("training", [{"max_steps": 201}, {"batch_size": 9}, {"flips": True}], ids=str)
def test_any_other_value_counts(training: dict[str, Any]) -> None:
    base = replace(TINY, defaults=DEFAULTS)
    fingerprint = training_fingerprint(spec_of(training=training), ABC, base)
    assert fingerprint == training_fingerprint(spec_of(training=training), ABC, TINY)
    assert fingerprint not in equivalent_fingerprints(spec_of(), ABC, base)


def test_version_and_templates_are_a_reason_to_render() -> None:
    one, two = version_of(1), version_of(2, "abcd")
    assert serving_changes(serving_fingerprint(spec_of(), one, "t"), serving_fingerprint(spec_of(), two, "t")) == (
        "version",
    )
    assert serving_changes(serving_fingerprint(spec_of(), one, "t"), serving_fingerprint(spec_of(), one, "u")) == (
        "templates",
    )


def test_a_serving_fingerprint_can_stand_in_front_matter() -> None:
    assert re.fullmatch(r"[a-z_]+=[0-9a-f]{8}(\.[a-z_]+=[0-9a-f]{8})*", serving_fingerprint(spec_of(), None, "t"))


def test_a_caption_belongs_to_its_picture() -> None:
    one, two = "1" * 32, "2" * 32
    captioned = (*images_of("ab"), ImageRef("a.txt", one), ImageRef("b.txt", two))
    swapped = (*images_of("ab"), ImageRef("a.txt", two), ImageRef("b.txt", one))
    renamed = tuple(replace(file, relpath=f"x{file.relpath}") for file in captioned)
    assert content_keys(captioned) != content_keys(swapped)
    assert content_keys(captioned) == content_keys(renamed)
    assert len(content_keys(captioned)) == 2


def test_a_text_without_a_picture_is_no_input() -> None:
    assert content_keys((*ABC, ImageRef("README.txt", "1" * 32))) == content_keys(ABC)
