"""The trainer as a child process: how it is started, what it may see, how it ends, and with whom."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from conceptry.concept import ConceptSpec, TrainingSpec
from conceptry.desired import ImageRef
from conceptry.errors import SettingsError, TrainingError, TransientError
from conceptry.fingerprint import trainer_config, training_fingerprint
from tasks.training import TrainingRequest, base_model, failure, train_local
from trainer.base_weights.presets import PRESETS
from trainer.training_config import parse

SPEC = ConceptSpec(placeholder_token="<x>", initializer_token="circle")


def request_in(folder: Path, config: dict[str, object]) -> TrainingRequest:
    (folder / "records").mkdir()
    return TrainingRequest("cat", config, folder / "records", folder / "output")


def test_the_trainer_reads_what_concept_yaml_says() -> None:
    config = trainer_config(SPEC)
    assert config["placeholder_token"] == "<x>"
    assert config["training"]["max_steps"] is None, "the preset's own"
    assert "release" not in config
    assert json.loads(json.dumps(config)) == config


def test_every_preset_has_a_fingerprint() -> None:
    assert {base_model(name).digest for name in PRESETS}.__len__() == len(PRESETS)


def test_a_configuration_that_the_trainer_refuses_is_reported_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        train_local(request_in(tmp_path, {**trainer_config(SPEC), "initializer_token": ""}))
    assert str(caught.value).endswith(
        "initializer_token: '' must be a word; nothing was trained; change it and try again"
    )
    assert not (tmp_path / "output").exists()


def test_a_training_that_could_not_be_judged_is_not_begun(tmp_path: Path) -> None:
    wanted = replace(request_in(tmp_path, trainer_config(SPEC)), needs_clip=True, base_dir=tmp_path)
    with pytest.raises(SettingsError, match=r"needs CLIP scores.*conceptry base fetch --clip.* CONCEPTRY_BASE_DIR"):
        train_local(wanted)
    assert not list(tmp_path.glob("output*"))


def test_a_training_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "metrics.json").write_text('{"steps": 3}')
    assert train_local(request_in(tmp_path, {})).steps == 3


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        (3, TrainingError, "learning_rate"),
        (1, TrainingError, "last lines"),
        (0, TrainingError, "without writing metrics.json"),
        (75, TransientError, "was interrupted"),
        (-signal.SIGKILL, TransientError, "memory ran out"),
        (-signal.SIGSEGV, TrainingError, "failed"),
    ],
)
def test_how_it_ended_is_said_in_words(code: int, kind: type[Exception], told: str) -> None:
    error = failure("cat", code, ["the last line"])
    assert type(error) is kind
    assert told in str(error)
    assert ("the last line" in str(error)) == (kind is TrainingError)


def test_the_trainer_does_not_outlive_a_run_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, json; from pathlib import Path; from tasks.training import TrainingRequest, train_local\n"
        "root = Path(sys.argv[1])\n"
        "train_local(TrainingRequest('cat', json.loads(sys.argv[2]), root / 'records', root / 'output'))"
    )
    (tmp_path / "records").mkdir()
    command = [sys.executable, "-c", code, str(tmp_path), json.dumps(trainer_config(SPEC))]
    secret = {"CONCEPTRY_HUB_TOKEN": "hf_canary", "HF_TOKEN": "hf_canary", "PREFECT_API_KEY": "canary"}
    run = subprocess.Popen(command, env={**os.environ, **secret})
    trainer = wait_for_child(run.pid)
    seen = Path(f"/proc/{trainer}/environ").read_text()
    assert "canary" not in seen
    assert "HOME=" in seen
    run.kill()
    run.wait()
    wait_until_gone(trainer)


def wait_for_child(parent: int) -> int:
    """The trainer's process id, once it is Python that runs `-m trainer`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if b"\0-m\0trainer\0" in Path(f"/proc/{child}/cmdline").read_bytes().partition(b"prctl")[0]:
                return int(child)
        time.sleep(0.01)
    raise AssertionError("no trainer was started")


def wait_until_gone(process: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("the trainer lives on")


@pytest.mark.parametrize(
    ("spec", "retrain", "fingerprint"),
    [
        ({"base_model": "tiny"}, None, "6f1ef7ad8e63924b1ec5d19f9bbc52fabb09816041fbcde633401e8d456a767f"),
        ({"base_model": "tiny"}, "2026-11-01", "176531ff608626124f184d672f71f6a50fd487579b4dffd546a3a31d8ff86af1"),
        ({"base_model": "sd-v1-4"}, None, "01563994e63671e7291a64621b8701202642fb4ab286878e2283e8bafbe56b4a"),
        (
            {
                "base_model": "sd-v1-4", "learnable_property": "style", "num_vectors": 3, "resolution": 256,
                "training": {"max_steps": 900, "templates": ["a photo of {}"]},
            },
            None,
            "3f994228f111460639c80582d24678b2a509e5d4e48b5c9d0e843378ecf008d3",
        ),
    ],
)  # fmt: skip
def test_what_was_trained_with_this_recipe_is_not_trained_again(
    spec: dict[str, Any], retrain: str | None, fingerprint: str
) -> None:
    images = [ImageRef(f"{letter}.jpg", md5(letter.encode()).hexdigest()) for letter in "abc"]
    asked = ConceptSpec.model_validate({"placeholder_token": "<my-cat>", "initializer_token": "cat", **spec})
    assert training_fingerprint(asked, images, base_model(asked.base_model), retrain) == fingerprint


NO_DEFAULT_OF_A_PRESET = {"held_out", "backend", "templates", "mask"}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_default_written_out_is_what_the_trainer_takes_without_it(name: str) -> None:
    base = base_model(name)
    left_out = {key for key, field in TrainingSpec.model_fields.items() if field.default is None}
    assert {f"training.{key}" for key in left_out - NO_DEFAULT_OF_A_PRESET} == set(base.defaults)
    plain = {"placeholder_token": "<my-cat>", "initializer_token": "cat", "base_model": name}
    spec = ConceptSpec.model_validate(plain)
    taken = parse(trainer_config(spec))
    for key, default in base.defaults.items():
        field = key.removeprefix("training.")
        assert getattr(taken, field) == default, "what the trainer fills in"
        written = ConceptSpec.model_validate({**plain, "training": {field: default}})
        assert parse(trainer_config(written)) == taken
        assert training_fingerprint(written, (), base) == training_fingerprint(spec, (), base)
    resolved = ConceptSpec.model_validate({**plain, "resolution": taken.resolution})
    assert training_fingerprint(resolved, (), base) == training_fingerprint(spec, (), base)
