"""What an evaluation measures: the baselines, the rows, and that a verdict costs no more rows than it needs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks.tiny_inversion import Bench
from trainer import evaluation, objective, training_config
from trainer.data.latents import Latents, encode_views
from trainer.data.pictures import Picture
from trainer.metrics import LossRows
from trainer.tiny import world
from trainer.training_config import ConfigError
from trainer.verdict import compare

PAIR = ("red", "circle")
"""Captioned in the pre-training, and so its own words draw it."""


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def settings(initializer: str = "square", num_vectors: int = 1, **gate: float) -> training_config.Config:
    words = {"placeholder_token": "<x>", "initializer_token": initializer, "base_model": "tiny"}
    return training_config.parse({**words, "num_vectors": num_vectors, "gate": gate})


@pytest.fixture(scope="module")
def judged(bench: Bench) -> Latents:
    rng = np.random.default_rng(0)
    pictures = [Picture(np.asarray(world.draw(*PAIR, rng)), "") for _ in range(2)]
    return encode_views(pictures, bench.encoder, settings(), evaluation.VIEWS, seed=2)


def vectors_of(bench: Bench, word: str) -> np.ndarray:
    return objective.initial_vectors(settings(word), bench.frozen)


def rows_of(bench: Bench, judged: Latents, config: training_config.Config, word: str) -> LossRows:
    rows = evaluation.evaluate(bench.frozen, judged, config, vectors_of(bench, word)).rows
    assert rows is not None
    return rows


def test_a_word_that_fits_beats_what_needs_no_training_on_few_rows(bench: Bench, judged: Latents) -> None:
    losses = evaluation.evaluate(bench.frozen, judged, settings(), vectors_of(bench, world.NAMES[PAIR]))
    assert losses.rows is not None
    assert {one.outcome for one in compare(losses.rows, 0.05, 0.95)} == {"passed"}
    assert (losses.rows.count, len(losses.rows.trained)) == (64, 2)
    assert set(losses.rows.baselines) == {"initializer", "mean", "empty_prompt"}
    mean = np.mean(losses.rows.trained)
    assert losses.trained == pytest.approx(mean, abs=1e-6)


def test_the_same_vectors_have_the_same_losses_on_every_row(bench: Bench, judged: Latents) -> None:
    rows = rows_of(bench, judged, settings("square"), "square")
    assert rows.trained == rows.baselines["initializer"]
    assert compare(rows, 0.05, 0.95)[0].outcome == "rejected"


def test_more_rows_are_drawn_while_the_verdict_is_open(bench: Bench, judged: Latents) -> None:
    fits = world.NAMES[PAIR]
    clear = rows_of(bench, judged, settings(), fits)
    middle = compare(clear, 0.05, 0.95)[0].bound.improvement
    open_ = rows_of(bench, judged, settings(min_improvement=round(middle, 3)), fits)
    assert open_.count == evaluation.BLOCKS * clear.count
    assert [row[:32] for row in open_.trained] == list(clear.trained), "the first block is the same"


def test_another_seed_draws_other_rows(bench: Bench, judged: Latents) -> None:
    one, other = (rows_of(bench, judged, replace(settings(), seed=seed), "circle") for seed in (0, 1))
    assert one.trained != other.trained
    assert one == rows_of(bench, judged, settings(), "circle")


def test_the_words_of_the_class_are_a_baseline_where_the_vectors_are_not_theirs(bench: Bench, judged: Latents) -> None:
    two = settings(num_vectors=2)
    frozen = replace(bench.frozen, tokenizer=bench.base.tokenizer("<x>", 2))
    losses = evaluation.evaluate(frozen, judged, two, objective.initial_vectors(two, frozen))
    assert losses.rows is not None
    assert "class_prompt" in losses.rows.baselines

    given = vectors_of(bench, "square")
    losses = evaluation.evaluate(bench.frozen, judged, settings(), given, initial=given)
    assert losses.rows is not None
    assert losses.rows.baselines["initializer"] == losses.rows.trained
    assert "class_prompt" in losses.rows.baselines


def test_a_released_version_with_more_vectors_is_compared(bench: Bench, judged: Latents, tmp_path: Path) -> None:
    fits = vectors_of(bench, world.NAMES[PAIR])
    path = tmp_path / "v3.safetensors"
    save_file({"<old>": np.repeat(fits, 2, axis=0)}, path)
    released = evaluation.Released.load(path, bench.frozen)
    losses = evaluation.evaluate(bench.frozen, judged, settings(), vectors_of(bench, "square"), released=released)
    assert losses.released == "v3"
    assert losses.rows is not None
    assert compare(losses.rows, 0.05, 0.95)[0].baseline in ("released", "initializer")
    assert np.mean(losses.rows.baselines["released"]) < np.mean(losses.rows.trained)


@pytest.mark.parametrize("width", [95, 768])
def test_vectors_of_another_base_model_are_refused(bench: Bench, tmp_path: Path, width: int) -> None:
    path = tmp_path / "v1.safetensors"
    save_file({"<x>": np.zeros((1, width), "float32")}, path)
    with pytest.raises(ConfigError, match=f"its vectors are .1, {width}., and not 96 wide"):
        evaluation.Released.load(path, bench.frozen)
