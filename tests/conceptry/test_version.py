"""Versions travel through the model card's metadata and come back as they were."""

from datetime import date

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from conceptry.errors import HubError
from conceptry.reasons import GateReason
from conceptry.version import Evidence, Manifest, Version
from tests.support.plan_worlds import version_of
from trainer.metrics import Losses, TrainingMetrics

HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
VALUES = st.none() | st.booleans() | st.integers(0, 10**6) | st.floats(1e-6, 1) | st.text("abc<>-:#'\" \n", max_size=9)
VERSIONS = st.builds(
    Version,
    number=st.integers(1, 10**6),
    fingerprint=HEX,
    inputs=HEX,
    commit=st.text("0123456789abcdef", min_size=40, max_size=40),
    gate=st.sampled_from(["passed", "rejected", "undecided"]),
    dvc_md5=HEX.map(lambda text: f"{text[:32]}.dir"),
    created=st.dates().map(lambda day: f"{day.isoformat()}T12:00:00Z"),
    retrain=st.none() | st.dates().map(lambda day: day.isoformat()),
    loss=st.none() | st.floats(0, 10),
    gate_reason=st.none() | st.sampled_from(GateReason),
    evidence=st.none() | st.builds(Evidence, st.sampled_from(["initializer", "released"]), *[st.floats(-9, 1)] * 5),
    images=st.lists(HEX, max_size=3).map(tuple),
    spec=st.dictionaries(st.sampled_from(["placeholder_token", "training.max_steps", "recipe"]), VALUES),
)


@given(VERSIONS)
def test_the_index_survives_yaml(version: Version) -> None:
    text = yaml.safe_dump(version.to_index(), sort_keys=False, allow_unicode=True)
    assert Version.from_index(yaml.safe_load(text)) == version


def test_a_version_is_called_by_its_number() -> None:
    version = version_of(12)
    assert version.name == "v12"
    assert version.day == date(2026, 11, 1)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({}, "number: Field required"),
        (None, "entry: "),
        ([], "entry: "),
        ({**version_of(1).to_index(), "gate": "maybe"}, "gate: Input should be 'passed', 'rejected' or 'undecided'"),
        ({**version_of(1).to_index(), "created": "yesterday"}, "created: 'yesterday' is not an ISO date and time"),
    ],
)
def test_an_index_that_somebody_edited(index: object, words: str) -> None:
    with pytest.raises(HubError) as caught:
        Version.from_index(index)
    assert words in str(caught.value)
    assert "restore the README.md" in str(caught.value)


def test_the_manifest_reads_back_what_it_writes() -> None:
    manifest = Manifest(
        name="my-cat",
        version="v1",
        fingerprint="f" * 64,
        inputs="f" * 64,
        images={"a.jpg": "0" * 32},
        spec={"placeholder_token": "<my-cat>"},
        base_model="tiny",
        base_digest="d" * 64,
        recipe=1,
        commit="c" * 40,
        dvc_md5="0" * 32 + ".dir",
        gate="passed",
        metrics=TrainingMetrics(loss=Losses(initializer=0.1, trained=0.05)),
        files={"README.md": "a" * 64},
        seconds={"train": 12.5},
        created="2026-11-01T12:00:00Z",
    )
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
