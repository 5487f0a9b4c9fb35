"""Strings that would like to be more than text, and a concept that may hold them."""

from typing import Any

from conceptry.concept import BaseModel, ConceptSpec
from conceptry.space_settings import serving_settings
from trainer.metrics import ImageCounts, Losses, TrainingMetrics

CORPUS = [
    'it\'s "quoted" {braces} ${dollars} %s `ticks`',
    "two\nlines\r\n---\ntitle: other",
    "{{ config }} {% raw %} \\u003cscript\\u003e",
    "[click](javascript:alert(1)) **bold** | a | $x^2$",
    "\u202e \u2028 \x00 \x85 \U0001f431",
]
HOSTILE = '</script><script>alert("x")</script> {braces} ${d} \' " \\ *bold* <img src=x onerror=alert(1)>'


def spec(**changes: Any) -> ConceptSpec:
    return ConceptSpec.model_validate({"placeholder_token": "<my-cat>", "initializer_token": "cat", **changes})


def settings_of(spec: ConceptSpec, **changes: Any) -> dict[str, Any]:
    base = BaseModel("tiny", "d" * 64, 1, 64)
    metrics = TrainingMetrics(
        loss=Losses(initializer=0.1, trained=0.05, improvement=0.5), images=ImageCounts(train=4), steps=300
    )
    made = serving_settings(
        "my-cat", spec, base, version_name="v2", metrics=metrics, model_repo="local/my-cat", revision="f" * 40
    )
    return {**made, **changes}
