"""Concepts of the tiny world as records, and one real training that several tests look at."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from tests.support.trainer_runs import CLIP, RecordsMaker, Trained, run_trainer
from trainer.data import records
from trainer.metrics import METRICS_FILE, read_metrics
from trainer.tiny import world


@pytest.fixture(scope="session")
def make_records() -> RecordsMaker:
    """Draw a few pictures of a pair and write them as tasks/records does."""

    def make(folder: Path, pair: tuple[str, str], count: int) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(11)
        rows = []
        for index in range(count):
            buffer = io.BytesIO()
            world.draw(*pair, rng).save(buffer, "PNG")
            png = buffer.getvalue()
            rows.append(records.Record(png, 64, 64, hashlib.md5(png).hexdigest(), f"{index}.png"))
        records.write(folder / records.SHARD, sorted(rows, key=lambda row: row.md5))
        return folder

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, make_records: RecordsMaker) -> Trained:
    """A short training of a token with two vectors, with a CLIP model beside the base model's weights."""
    folder = tmp_path_factory.mktemp("trained")
    config = {
        "placeholder_token": "<teal-crescent>",
        "initializer_token": "crescent",
        "base_model": "tiny",
        "num_vectors": 2,
        "training": {"max_steps": 100, "seed": 3, "sample_every": 50},
        "samples": 3,
    }
    (folder / "base").mkdir()
    (folder / "base" / "clip").symlink_to(CLIP)
    records_folder = make_records(folder / "records", ("teal", "crescent"), 4)
    done = run_trainer(records_folder, config, folder / "output", folder / "base")
    assert done.returncode == 0, done.stderr
    metrics = read_metrics(folder / "output" / METRICS_FILE)
    return Trained(folder / "output", config, done.stdout, metrics)
