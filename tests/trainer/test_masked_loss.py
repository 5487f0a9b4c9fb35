"""`training.mask: alpha`: the loss counts what the mask shows, in training and in what judges it."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.masked_ground import VARIANTS, compose, run
from benchmarks.tiny_inversion import Bench
from benchmarks.token_trial import config_of, learn
from tests.support.trainer_runs import RecordsMaker, run_trainer
from trainer import evaluation, objective
from trainer.data.latents import Latents, encode_views
from trainer.data.pictures import Picture

PAIR = ("teal", "crescent")


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return compose(PAIR, None, 3, seed=0)


def test_crops_and_flips_move_the_mask_with_the_picture(pictures: list[Picture]) -> None:
    wide = [Picture(np.tile(one.pixels, (1, 2, 1)), "", mask=np.tile(one.mask, (1, 2))) for one in pictures]  # type: ignore[arg-type]
    config = config_of("crescent", 0, mask="alpha")
    config = type(config)(**{**vars(config), "flips": True})
    seen: list[np.ndarray] = []

    def encoder(pixels: tf.Tensor) -> tf.Tensor:
        seen.append(np.asarray(pixels)[0])
        return tf.zeros((1, 8, 8, 8))

    latents = encode_views(wide, encoder, config, 16, seed=1)
    assert latents.mask is not None
    assert latents.mask.shape == (48, 8, 8, 1)
    # Teal has little red, and the ground is white.
    shown = np.stack([1 - (pixels[..., 0] + 1) / 2 for pixels in seen])
    shown = shown.reshape(48, 8, 8, 8, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(latents.mask[..., 0], shown, atol=0.12)
    assert len({mask.tobytes() for mask in latents.mask}) == 48


def test_the_loss_is_the_mean_over_what_the_mask_shows(bench: Bench) -> None:
    rng = np.random.default_rng(0)
    latents, noise = (rng.standard_normal((2, 8, 8, 4), "float32") for _ in range(2))
    vectors = tf.constant(objective.initial_vectors(config_of("circle", 0), bench.frozen))
    tokens = bench.frozen.tokenizer.rows(["a photo of <x>"] * 2)
    context = bench.frozen.text_encoder.encode_with_placeholders(tokens, vectors)
    errors = objective.squared_errors(bench.frozen)

    def loss(mask: np.ndarray | None) -> np.ndarray:
        return np.asarray(errors(context, latents, np.asarray([200, 700]), noise, mask))

    every = np.ones((2, 8, 8, 1), "float32")
    left = every.copy()
    left[:, :, 4:] = 0
    np.testing.assert_allclose(loss(every), loss(None), rtol=1e-5)
    np.testing.assert_allclose((loss(left) + loss(1 - left)) / 2, loss(None), rtol=1e-5)
    np.testing.assert_allclose(loss(left * 0.5), loss(left), rtol=1e-5)
    assert loss(every * 0).tolist() == [0, 0], "a view without any of the subject"


def test_without_masks_nothing_changes(bench: Bench, pictures: list[Picture]) -> None:
    plain, masked = config_of("crescent", 0, max_steps=3), config_of("crescent", 0, max_steps=3, mask="alpha")
    without = [Picture(one.pixels, "") for one in pictures]

    def latents(found: list[Picture], config: object) -> Latents:
        return encode_views(found, bench.encoder, config, 2, seed=1)  # type: ignore[arg-type]

    assert latents(pictures, plain).mask is None
    assert latents(pictures, plain).digest == latents(without, plain).digest != latents(pictures, masked).digest
    vectors = learn(bench.frozen, latents(pictures, plain), plain)
    assert vectors.tobytes() == learn(bench.frozen, latents(without, plain), plain).tobytes()
    assert vectors.tobytes() != learn(bench.frozen, latents(pictures, masked), masked).tobytes()
    # A mask that shows all is no mask.
    whole = [Picture(one.pixels, "", mask=np.full(one.pixels.shape[:2], 255, np.uint8)) for one in pictures]
    np.testing.assert_allclose(learn(bench.frozen, latents(whole, masked), masked), vectors, atol=1e-5)


def test_what_judges_a_token_counts_the_same_part(bench: Bench, pictures: list[Picture]) -> None:
    config = config_of("crescent", 0, mask="alpha")
    judged = encode_views(pictures, bench.encoder, config, evaluation.VIEWS, seed=2)
    contexts = evaluation.encode_prompts(bench.frozen, config, objective.initial_vectors(config, bench.frozen))
    masked, everywhere = (
        evaluation.draw_losses(bench.frozen, judged, contexts, 16, np.random.default_rng(0), masked=wanted)
        for wanted in (True, False)
    )
    # The ground is easier than the shape on it.
    assert masked["initializer"].mean() > 1.2 * everywhere["initializer"].mean()


def test_a_strong_ground_is_not_learned(bench: Bench) -> None:
    # Cut out, as records store it: on white.
    without, masked = (run(bench, PAIR, 0, variant) for variant in (VARIANTS[0], VARIANTS[2]))
    assert masked.share < 0.2 * without.share
    assert without.right <= 0.5
    assert masked.right >= 0.8


def test_records_without_masks_are_refused_where_masks_are_asked_for(
    tmp_path: Path, make_records: RecordsMaker
) -> None:
    config = {"placeholder_token": "<x>", "initializer_token": "circle", "base_model": "tiny"}
    folder = make_records(tmp_path / "records", PAIR, 3)
    done = run_trainer(folder, {**config, "training": {"mask": "alpha"}}, tmp_path / "output")
    assert done.returncode == 2
    assert "no picture of the records has a mask" in done.stderr
    done = run_trainer(folder, {**config, "training": {"mask": "beta"}}, tmp_path / "output")
    assert "mask: 'beta' is not one of: alpha" in done.stderr
