"""The plan as people review it and programs read it: single changes, estimates, JSON with its schema, Markdown."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from conceptry.actions import Change, Plan, plan_schema
from conceptry.desired import Desired, ImageRef
from conceptry.errors import ConceptryError
from conceptry.estimate import Rate, estimate
from conceptry.fingerprint import training_keys
from conceptry.plan import plan
from conceptry.plan_inputs import PlanInputs
from conceptry.plan_text import markdown, summary
from conceptry.policy import policy_schema
from conceptry.version import Live, LiveConcept
from tests.support.plan_worlds import BASES, TEMPLATES, TINY, act, images_of, serving_of, spec_of, version_of, wanted_of

V1 = version_of(1)
GPU = Rate(step=0.2, overhead=360.0, max_steps=3000, batch_size=4, resolution=512, usd_per_hour=4.0)


def plan_of(**knowledge: Any) -> Plan:
    concepts = {
        "my-cat": replace(wanted_of("acde", training={"max_steps": 3000}), name="my-cat"),
        "my-dog": replace(wanted_of(placeholder_token="<my-dog>"), name="my-dog"),
    }
    live = Live({name: LiveConcept(name, (V1,), serving_of(V1)) for name in ("my-cat", "my-dog")})
    made = plan(Desired("r" * 40, concepts), live, PlanInputs(BASES, TEMPLATES, **knowledge))
    return replace(made, hub=live.digest())


def test_every_image_that_came_or_went_and_every_key_is_listed() -> None:
    b = images_of("b")[0]
    action = act(wanted_of("acde", training={"max_steps": 3000}), V1, image_names={b.md5: "old/b.jpg"}).training
    assert [str(change) for change in action.changes] == [
        "+ images/d.jpg",
        "+ images/e.jpg",
        "- images/old/b.jpg",
        "~ training.max_steps default -> 3000",
    ]
    unknown = act(wanted_of("ac"), V1).training
    assert unknown.changes == (Change(f"image {b.md5[:12]}", b.md5, None),)


def test_a_caption_is_a_change_of_its_image() -> None:
    wanted = replace(wanted_of(), images=(*images_of("abc"), ImageRef("a.txt", "0" * 32)))
    assert act(wanted, V1).training.changes == (Change("caption of images/a.jpg", None, "0" * 32),)


def test_an_estimate_is_the_presets_until_there_is_a_version() -> None:
    keys = training_keys(spec_of(base_model="sd-v1-4"), BASES["sd-v1-4"])
    first = estimate(keys, (), GPU)
    assert (first.gpu_minutes, first.usd, first.basis) == (16.0, 1.07, "3000 steps at most")
    assert estimate({**keys, "training.batch_size": 8}, (), GPU).gpu_minutes == 26.0
    assert estimate({**keys, "resolution": 256}, (), GPU).gpu_minutes == 8.5
    known = replace(version_of(1, spec={"base_model": "sd-v1-4"}, base=BASES["sd-v1-4"]), seconds=660.0)
    again = estimate({**keys, "training.max_steps": 6000}, (known,), GPU)
    assert (again.gpu_minutes, again.basis) == (16.0, "v1 took 11.0 min")


def test_attention_among_pixels_grows_with_their_square() -> None:
    rate = replace(GPU, fixed=0.1, square=0.2)
    assert rate.seconds_of_step(4, 512) == pytest.approx(0.2)
    assert rate.seconds_of_step(2, 1024) == pytest.approx(0.1 * (0.1 + 0.7 * 4 + 0.2 * 16))


def test_the_plan_sums_its_trainings_up() -> None:
    made = plan_of(rates={"tiny": GPU})
    assert made.estimate is not None
    assert (made.estimate.gpu_minutes, made.estimate.usd) == (12.4, 0.82)
    assert summary(made) == "2 to train. About 12 min of training, 0.82 USD."
    assert plan_of().estimate is None


def test_json_follows_its_schema_and_comes_back() -> None:
    archived = Plan("r1", (act(None, V1),))
    for made in (plan_of(rates={"tiny": GPU}), plan_of(), Plan("r1", ()), archived):
        text = made.to_json()
        Draft202012Validator(plan_schema()).validate(json.loads(text))
        assert Plan.from_json(text) == made


def test_the_committed_schema_is_the_current_one(repo_root: Path) -> None:
    for name, schema in (("plan", plan_schema()), ("conceptry", policy_schema())):
        assert json.loads((repo_root / "docs" / f"{name}.schema.json").read_text("utf-8")) == schema, (
            "run `make schema`"
        )
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"revision": 3, "concepts": []}', "\x00"])
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ConceptryError, match="not a saved plan"):
        Plan.from_json(text)


def test_markdown_says_what_a_reviewer_needs() -> None:
    text = markdown(plan_of(rates={"tiny": GPU}))
    assert "| my\\-cat | train | images \\+2 \\-1" in text
    assert "| 6 min, 0.41 USD |" in text
    assert "- `+ images/d.jpg`" in text
    assert markdown(Plan("r" * 40, ())).endswith("Git and the Hub agree.\n")


def test_markdown_of_a_thousand_concepts_fits_a_comment() -> None:
    concepts = {f"c{number}": replace(wanted_of(), name=f"c{number}") for number in range(1000)}
    made = plan(Desired("r" * 40, concepts), Live({}), PlanInputs(BASES, TEMPLATES, rates={"tiny": GPU}))
    text = markdown(made)
    assert len(text) < 65_536
    assert "And 800 more concepts." in text


def test_a_hostile_title_stays_text() -> None:
    one = act(wanted_of(base_model="sd-v1-4"), bases={"tiny": TINY})
    one = replace(one, training=replace(one.training, cause="<img src=x> | a `b` @someone"))
    row = next(line for line in markdown(Plan("r" * 40, (one,))).splitlines() if line.startswith("| my"))
    assert row.count("|") - row.count("\\|") == 7
    assert "\\<img" in row
