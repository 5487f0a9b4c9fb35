"""Textual Inversion on the tiny world: a smaller version of `python -m benchmarks.tiny_inversion`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.tiny_inversion import Bench
from conceptry.concept import PROMPT_TOKENS
from trainer import checkpoint, objective, train, training_config
from trainer.data import batches
from trainer.data.latents import Latents, compile_encoder, encode_views
from trainer.data.pictures import Picture
from trainer.devices import Devices
from trainer.models.shapes import SHAPES, TINY
from trainer.recipe import DEFAULT
from trainer.tiny import world


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def settings(**training: object) -> training_config.Config:
    words = {"placeholder_token": "<x>", "initializer_token": "circle", "base_model": "tiny", "training": training}
    return training_config.parse(words)


@pytest.fixture(scope="module")
def latents(bench: Bench) -> Latents:
    rng = np.random.default_rng(0)
    pictures = [Picture(np.asarray(world.draw("teal", "crescent", rng)), "") for _ in range(2)]
    return encode_views(pictures, bench.encoder, settings(), 2, seed=1)


@pytest.mark.parametrize(
    ("initializer", "max_steps"), [("crescent", 60), ("circle", None)], ids=["its shape's word", "a wrong word"]
)
def test_a_concept_without_a_caption_is_learned(bench: Bench, initializer: str, max_steps: int | None) -> None:
    # From its shape's word a token has only the colour to learn; from a wrong one it takes the preset's 200 steps.
    found = bench.invert(("teal", "crescent"), initializer, seed=0, pictures=32, max_steps=max_steps)
    assert found.before["both"] <= 0.2
    assert found.after["both"] >= 0.85
    assert found.loss["trained"] < found.loss["initializer"]


@pytest.mark.parametrize("phrase", ["red circle", "blue star", world.NAMES["yellow", "cross"]])
def test_captions_of_the_pre_training_are_drawn_right(bench: Bench, phrase: str) -> None:
    pair = next(pair for pair in world.CAPTIONED if phrase in (" ".join(pair), world.NAMES[pair]))
    assert bench.score(f"a photo of {phrase}", pair, 16)["both"] >= 0.8


def test_held_out_pairs_have_no_caption() -> None:
    with pytest.raises(ValueError, match="held out"):
        world.caption(("teal", "crescent"), np.random.default_rng(0))


def test_an_interrupted_training_ends_with_the_same_vectors(bench: Bench, latents: Latents, tmp_path: Path) -> None:
    wanted = settings(max_steps=6)
    whole, _ = train.train(latents, bench.frozen, wanted, tmp_path / "whole", lambda _line: None)

    asked = iter([False, False, False, True])
    with pytest.raises(train.Interrupted, match="after step 3 of 6"):
        train.train(latents, bench.frozen, wanted, tmp_path / "parts", lambda _line: None, lambda: next(asked))
    resumed, _ = train.train(latents, bench.frozen, wanted, tmp_path / "parts", lambda _line: None)

    assert resumed.step == whole.step == 6
    assert resumed.vectors.tobytes() == whole.vectors.tobytes()


def test_a_finished_training_that_is_started_again_computes_nothing(bench: Bench, tmp_path: Path) -> None:
    pictures = [Picture(np.asarray(world.draw("teal", "crescent", np.random.default_rng(0))), "")]
    wanted = settings(max_steps=3)
    encoders = bench.encoder, lambda _pixels: pytest.fail("a batch was drawn")
    (first, why), again = (
        train.train(
            encode_views(pictures, encoder, wanted, 1, seed=1, at_once=False), bench.frozen, wanted, tmp_path, print
        )
        for encoder in encoders
    )
    assert (again[0].vectors.tobytes(), again[0].step, again[1]) == (first.vectors.tobytes(), 3, why)


def test_a_view_is_encoded_when_it_is_asked_for_and_only_once(bench: Bench) -> None:
    rng = np.random.default_rng(0)
    pictures = [Picture(np.asarray(world.draw("teal", "crescent", rng)), "") for _ in range(2)]
    seen: list[np.ndarray] = []

    def encoder(pixels: tf.Tensor) -> tf.Tensor:
        seen.append(np.asarray(pixels))
        return bench.encoder(pixels)

    eager = encode_views(pictures, encoder, settings(), 2, seed=1)
    assert len(seen) == 4
    lazy = encode_views(pictures, encoder, settings(), 2, seed=1, at_once=False)
    assert lazy.digest == eager.digest
    rows = np.asarray([2, 0, 2])
    drawn = [latents.sample(rows, np.random.default_rng(5)).tobytes() for latents in (lazy, eager, lazy)]
    assert drawn[0] == drawn[1] == drawn[2]
    assert len(seen) == 6
    lazy.encode()
    assert lazy.mean.tobytes() == eager.mean.tobytes()
    assert len(seen) == 8


@pytest.mark.parametrize(
    ("base_model", "flips", "mirrored"), [("tiny", None, 0), ("tiny", True, 32), ("sd-v1-4", None, 32)]
)
def test_about_half_of_the_views_are_mirrored_where_that_is_asked_for(
    base_model: str, flips: bool | None, mirrored: int
) -> None:
    pixels = np.full((64, 64, 3), 255, "uint8")
    pixels[:, :32] = 0
    words = {"placeholder_token": "<x>", "initializer_token": "circle", "base_model": base_model, "resolution": 64}
    config = training_config.parse({**words, "training": {"flips": flips}})
    seen: list[bool] = []

    def encoder(pixels: tf.Tensor) -> tf.Tensor:
        seen.append(bool(tf.reduce_mean(pixels[:, :, :32]) > tf.reduce_mean(pixels[:, :, 32:])))
        return tf.zeros((1, 8, 8, 8))

    encode_views([Picture(pixels, "")], encoder, config, 64, seed=1)
    assert abs(sum(seen) - mirrored) <= 12
    assert mirrored or not any(seen)


def test_a_batch_has_a_timestep_of_each_part_of_the_range(bench: Bench, latents: Latents) -> None:
    first, end = DEFAULT.timestep_range
    part = (end - first) / 8
    for step in range(20):
        batch = batches.draw_batch(latents, bench.frozen.tokenizer, settings(batch_size=8), step)
        assert sorted((batch.timesteps - first) // part) == list(range(8))
    rest = replace(DEFAULT, timestep_range=(0, 1000), timesteps="uniform")
    drawn = [
        batches.draw_batch(latents, bench.frozen.tokenizer, settings(batch_size=8), step, rest).timesteps
        for step in range(50)
    ]
    assert np.min(drawn) < first < end < np.max(drawn)


def test_a_training_starts_from_given_vectors(bench: Bench, latents: Latents, tmp_path: Path) -> None:
    config, recipe = settings(max_steps=2, learning_rate=1e-9), replace(DEFAULT, fallback=False)
    given = objective.initial_vectors(config, bench.frozen) * np.float32(1.01)
    kept: list[checkpoint.State] = []
    arguments = (latents, bench.frozen, config, tmp_path, lambda _line: None)
    train.train(*arguments, initial=given, recipe=recipe, at_checkpoint=kept.append, checkpoint_every=1)
    np.testing.assert_allclose(kept[0].vectors, given, atol=1e-6)
    state, _ = train.train(*arguments, recipe=recipe)
    assert np.abs(state.vectors - given).max() > 1e-4, "the checkpoint belongs to another start"


def test_with_the_last_view_the_vae_leaves_memory(bench: Bench) -> None:
    image_encoder = bench.base.image_encoder()
    held = image_encoder.weights
    encoder = compile_encoder(image_encoder)
    picture = Picture(np.asarray(world.draw("teal", "crescent", np.random.default_rng(0))), "")
    views = [encode_views([picture], encoder, settings(), 1, seed=seed, at_once=False) for seed in (1, 2)]
    del encoder, image_encoder
    views[0].encode()
    assert all(np.asarray(weight).size for weight in held)
    views[1].encode()
    assert not any(np.asarray(weight).size for weight in held)


def test_a_loss_that_is_not_a_number_keeps_the_last_good_checkpoint(bench: Bench, tmp_path: Path) -> None:
    broken = Latents(np.full((2, 8, 8, 4), np.nan, "float32"), np.zeros((2, 8, 8, 4), "float32"), ("", ""))
    wanted = settings(max_steps=3)
    with pytest.raises(train.TrainingFailed, match="smaller learning_rate"):
        train.train(broken, bench.frozen, wanted, tmp_path, lambda _line: None)
    assert (tmp_path / checkpoint.LATEST).is_file()


def test_an_exploding_vector_keeps_the_last_good_checkpoint(bench: Bench, latents: Latents, tmp_path: Path) -> None:
    wanted = settings(max_steps=5, learning_rate=1e4)
    middle = replace(DEFAULT, initialization="mean")
    with pytest.raises(train.TrainingFailed, match=r"a vector's length has grown to .* at step 0: try a smaller"):
        train.train(latents, bench.frozen, wanted, tmp_path, lambda _line: None)
    with np.load(tmp_path / checkpoint.LATEST) as kept:
        assert kept["step"] == 0
        np.testing.assert_array_equal(kept["vectors"], objective.initial_vectors(wanted, bench.frozen, middle))


@pytest.mark.parametrize(
    ("initializer", "said"), [("circle", ["initializer"]), (world.NAMES["blue", "star"], [])], ids=["wrong", "right"]
)
def test_an_initializer_that_fits_worse_than_the_mean_is_said(
    bench: Bench, tmp_path: Path, initializer: str, said: list[str]
) -> None:
    wanted = replace(settings(max_steps=1), initializer_token=initializer)
    pictures = [Picture(np.asarray(world.draw("blue", "star", np.random.default_rng(0))), "")]
    lines: list[dict[str, object]] = []
    train.train(encode_views(pictures, bench.encoder, wanted, 2, seed=1), bench.frozen, wanted, tmp_path, lines.append)
    assert [line["event"] for line in lines if "event" in line] == said


def test_xla_compiles_a_step_and_computes_the_same(bench: Bench, latents: Latents) -> None:
    wanted = settings(batch_size=2)
    batch = batches.draw_batch(latents, bench.frozen.tokenizer, wanted, 0).arrays()
    start = objective.initial_vectors(wanted, bench.frozen)
    compute = objective.gradients(objective.denoising_losses(bench.frozen))
    plain, compiled = (
        Devices().compile(compute, jit)((start, np.zeros((), "float32")), batch) for jit in (False, True)
    )
    np.testing.assert_allclose(compiled[0], plain[0], rtol=1e-5)
    np.testing.assert_allclose(compiled[1], plain[1], rtol=1e-3, atol=1e-6)


def test_no_gradient_reaches_the_frozen_table(bench: Bench) -> None:
    table = bench.frozen.text_encoder.weights[0]
    before = np.asarray(table).tobytes()
    vectors = tf.Variable(tf.ones((1, TINY.text_encoder.width)))
    tokens = tf.constant(bench.frozen.tokenizer.rows(["a photo of <x>"]))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(vectors)
        context = bench.frozen.text_encoder.encode_with_placeholders(tokens, vectors)
        loss = tf.reduce_sum(context**2)
    gradients = tape.gradient(loss, [vectors, *bench.frozen.text_encoder.weights])
    assert gradients[0] is not None
    assert all(gradient is None for gradient in gradients[1:])
    assert np.asarray(table).tobytes() == before


def test_concept_yaml_knows_how_many_vectors_fit_into_a_prompt() -> None:
    assert {name: shapes.text_encoder.length - 2 for name, shapes in SHAPES.items()} == PROMPT_TOKENS
