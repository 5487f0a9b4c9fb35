"""A plan's estimates follow the kind of a base model and the size of its images."""

from typing import Any

import pytest

from conceptry.bases import BaseEntry
from conceptry.concept import ConceptSpec
from conceptry.estimate import estimate
from conceptry.fingerprint import training_keys
from conceptry.installation import HubTarget, Installation
from conceptry.plan_inputs import PlanInputs
from conceptry.settings import Settings
from conceptry.vertex_settings import VertexBasics
from tasks import training
from tests.support.plan_worlds import BASES, TEMPLATES, spec_of

OVERHEAD = 600.0 / 60
"""Minutes on this machine."""


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> PlanInputs:
    monkeypatch.setenv("CONCEPTRY_REPO", "/nowhere")
    monkeypatch.setenv("CONCEPTRY_HUB_OWNER", "local")
    installation = Installation(Settings(), HubTarget("http://localhost", "local"), VertexBasics())
    return PlanInputs(BASES, TEMPLATES, rates=training.rates(installation))


def on(kind: str, **changes: Any) -> ConceptSpec:
    entry = BaseEntry(
        kind=kind, prediction="epsilon", checkpoint="a.safetensors", content="1" * 64,
        files={"a.safetensors": "2" * 64}, resolution=changes.pop("base_resolution", 512),
    )  # fmt: skip
    return spec_of(base_model="mine", **changes).model_copy(update={"base": entry})


def minutes(inputs: PlanInputs, spec: ConceptSpec) -> float:
    """Of the steps alone."""
    rate = inputs.rate(spec)
    assert rate is not None
    return estimate(training_keys(spec, training.base_of(spec)), (), rate).gpu_minutes - OVERHEAD


def test_a_checkpoint_takes_as_long_as_the_preset_of_its_kind(inputs: PlanInputs) -> None:
    preset = minutes(inputs, spec_of(base_model="sd-v1-4"))
    assert preset == pytest.approx(3000 * 62 / 60)
    assert minutes(inputs, on("sd1")) == preset
    assert 1.03 < minutes(inputs, on("sd2")) / preset < 1.05, "its text encoder is larger, its UNet is not"


def test_attention_makes_768_pixels_slower_than_their_number(inputs: PlanInputs) -> None:
    small, middle, large = (minutes(inputs, on("sd2", base_resolution=size)) for size in (256, 512, 768))
    assert large / middle == pytest.approx(5.017 / 1.825, abs=0.01)
    assert middle / small == pytest.approx(1.825 / 0.461, abs=0.01)
    assert minutes(inputs, on("sd2", base_resolution=512, resolution=768)) == large
