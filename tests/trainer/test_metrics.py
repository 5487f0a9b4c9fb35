"""The schema of metrics.json: what older releases wrote still reads, and what a later one wrote is refused."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from conceptry.version import Manifest
from trainer.metrics import (
    METRICS_FILE,
    METRICS_VERSION,
    ClipScore,
    ClipScores,
    Losses,
    MetricsError,
    TrainingMetrics,
    metrics_schema,
    read_metrics,
    write_metrics,
)

# As the trainer wrote it before the file had a version.
UNVERSIONED: dict[str, Any] = {
    "recipe": 3,
    "base_model": "tiny",
    "steps": 200,
    "stopped": "max_steps",
    "loss": {"initializer": 0.130301, "trained": 0.068121, "improvement": 0.4772, "on": "held-out images"},
    "clip": {
        "model": "openai/clip-vit-large-patch14",
        "image": {"initializer": 60.0, "trained": 74.5, "on": "held-out images"},
        "text": {"initializer": 25.0, "trained": 23.0, "on": "a photo of circle"},
    },
    "images": {"train": 3, "held_out": 1},
    "seconds": {"start": 8.71, "train": 12.4, "total": 40.25},
    "samples": [{"file": "samples/0.png", "prompt": "a photo of <my-cat>", "seed": 0}],
    "device": "CPU",
    "replicas": 1,
    "weights": {"dtype": "float32", "verified": True},
    "files": {"learned_embeds.safetensors": "a" * 64},
}
IMPORTED = {"base_model": "tiny", "stopped": "imported", "imported": {"source": "x.bin", "sha256": "b" * 64}}


def manifest_of(metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        "manifest": 1, "name": "x", "fingerprint": "a" * 64, "inputs": "a" * 64, "images": {}, "spec": {},
        "base_model": "tiny", "base_digest": "d" * 64, "recipe": 3, "commit": "c" * 40, "dvc_md5": "f" * 32,
        "gate": "passed", "metrics": metrics, "created": "2026-11-22T10:00:00+00:00",
    }  # fmt: skip


@pytest.mark.parametrize(
    "written",
    [UNVERSIONED, IMPORTED, {}, UNVERSIONED | {"version": 1}, UNVERSIONED | {"of another release": {"a": [1]}}],
)
def test_a_published_manifest_reads_and_is_written_as_it_was(written: dict[str, Any]) -> None:
    manifest = Manifest.model_validate_json(json.dumps(manifest_of(written)))
    assert manifest.metrics.version == 1
    assert json.loads(manifest.model_dump_json())["metrics"] == written
    assert manifest.model_dump()["metrics"].keys() == written.keys()


def test_what_is_written_has_a_version(tmp_path: Path) -> None:
    write_metrics(tmp_path / METRICS_FILE, TrainingMetrics.model_validate(UNVERSIONED))
    written = json.loads((tmp_path / METRICS_FILE).read_text())
    assert written == UNVERSIONED | {"version": METRICS_VERSION}
    assert read_metrics(tmp_path / METRICS_FILE) == TrainingMetrics.model_validate(written)
    assert [path.name for path in tmp_path.iterdir()] == [METRICS_FILE], "nothing half written is left"


def test_a_later_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / METRICS_FILE).write_text(json.dumps(UNVERSIONED | {"version": 2}))
    with pytest.raises(MetricsError, match="has version 2, and this release reads up to version 1: update Conceptry"):
        read_metrics(tmp_path / METRICS_FILE)
    with pytest.raises(ValidationError, match="update Conceptry"):
        Manifest.model_validate(manifest_of({"version": 2}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read .*: train again"),
        ("", "train again"),
        ("[]", "train again"),
        ('{"steps": "many"}', "steps: .* train again"),
        ('{"loss": {"initializer": 0.1, "trained": "0.05"}}', "loss.trained: .* train again"),
        ('{"loss": {"initializer": 0.1, "trained": true}}', "loss.trained: .* train again"),
        ('{"version": 0}', "version: .* train again"),
        ('{"version": "1"}', "version: .* train again"),
    ],
)
def test_what_is_no_metrics_file_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / METRICS_FILE).write_text(content)
    with pytest.raises(MetricsError, match=message):
        read_metrics(tmp_path / METRICS_FILE)


def test_a_loss_that_is_no_number_survives_the_file(tmp_path: Path) -> None:
    write_metrics(tmp_path / METRICS_FILE, TrainingMetrics(loss=Losses(initializer=0.1, trained=math.nan)))
    assert math.isnan(read_metrics(tmp_path / METRICS_FILE).loss.trained or 0.0)


def test_metrics_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TrainingMetrics().steps = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("clip", "kinds"),
    [
        (None, 0),
        (ClipScores(image=ClipScore(initializer=60.0, trained=70.0, on="held-out images")), 1),
        (ClipScores(image=ClipScore(initializer=60.0, trained=math.nan)), 0),
        (ClipScores(text=ClipScore(trained=70.0)), 0),
    ],
)
def test_only_scores_that_were_measured_are_told(clip: ClipScores | None, kinds: int) -> None:
    metrics = TrainingMetrics(clip=clip)
    assert len(metrics.clip_scores) == kinds
    assert (metrics.clip_image is not None) == bool(kinds)


def test_every_field_of_the_schema_is_described(repo_root: Path) -> None:
    schema = metrics_schema()
    committed = (repo_root / "docs" / "metrics.schema.json").read_text(encoding="utf-8")
    assert json.loads(committed) == schema, "run `make schema`"
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(UNVERSIONED | {"version": METRICS_VERSION})
    assert list(Draft202012Validator(schema).iter_errors({"version": METRICS_VERSION + 1}))
    for definition in (schema, *schema["$defs"].values()):
        assert [name for name, field in definition["properties"].items() if "description" not in field] == []


def test_the_schema_costs_no_tensorflow() -> None:
    program = "import sys, trainer.metrics; print(*({'tensorflow', 'keras', 'numpy', 'PIL'} & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []
