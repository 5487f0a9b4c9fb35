"""Two pictures: each is judged by a short training on the other one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from benchmarks.tiny_inversion import Bench
from trainer import evaluation, training_config
from trainer.cross_fit import cross_fit, groups_to_leave_out
from trainer.data.latents import encode_views
from trainer.data.pictures import Picture
from trainer.metrics import LEFT_OUT
from trainer.tiny import world
from trainer.verdict import compare

PAIR = ("teal", "crescent")


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def settings(**training: object) -> training_config.Config:
    words = {"placeholder_token": "<x>", "initializer_token": "crescent", "base_model": "tiny", "training": training}
    return training_config.parse(words)


def pictures(count: int) -> list[Picture]:
    rng = np.random.default_rng(3)
    return [Picture(np.asarray(world.draw(*PAIR, rng)), "") for _ in range(count)]


def test_two_different_pictures_are_left_out_in_turn() -> None:
    two = pictures(2)
    assert groups_to_leave_out(two, settings()) == [0, 1]
    assert groups_to_leave_out(two, settings(held_out=1)) == [0, 1]
    mirrored = Picture(np.asarray(ImageOps.mirror(Image.fromarray(two[0].pixels))), "")
    assert groups_to_leave_out([*two, mirrored], settings()) == [0, 1, 0], "look-alikes are left out together"
    assert groups_to_leave_out(two, settings(held_out=0)) is None
    assert groups_to_leave_out([two[0], mirrored], settings()) is None
    assert groups_to_leave_out(two[:1], settings()) is None


@pytest.mark.parametrize(("rate", "outcome"), [(None, "passed"), (1e-9, "rejected")])
def test_what_is_learned_from_one_picture_is_judged_on_the_other(
    bench: Bench, tmp_path: Path, rate: float | None, outcome: str
) -> None:
    found, config = pictures(2), settings(learning_rate=rate)
    latents = encode_views(found, bench.encoder, config, 4, seed=1, at_once=False)
    judged = encode_views(found, bench.encoder, config, evaluation.VIEWS, seed=2)
    learned = cross_fit([0, 1], latents, bench.frozen, config, tmp_path)
    assert learned.shape == (2, 1, 96)
    assert (np.abs(learned[0] - learned[1]).max() > 0.01) == (rate is None)
    assert cross_fit([0, 1], latents, bench.frozen, config, tmp_path).tobytes() == learned.tobytes(), "checkpoints"

    losses = evaluation.evaluate(bench.frozen, judged, config, learned, on=LEFT_OUT)
    assert losses.rows is not None
    assert compare(losses.rows, config.min_improvement, config.confidence)[0].outcome == outcome
    # The first picture's rows are those of the vectors that were learned without it.
    own = evaluation.evaluate(bench.frozen, judged, config, learned[0], on=LEFT_OUT)
    assert own.rows is not None
    each = min(len(own.rows.trained[0]), len(losses.rows.trained[0]))
    alike = [np.allclose(own.rows.trained[row][:each], losses.rows.trained[row][:each], atol=1e-5) for row in (0, 1)]
    assert alike == [True, rate is not None]


def test_the_views_of_one_picture_are_the_same_latents(bench: Bench) -> None:
    latents = encode_views(pictures(2), bench.encoder, settings(), 3, seed=1, at_once=False)
    part = latents.part(np.arange(3, 6))
    assert len(part) == 3
    rows = np.asarray([0, 2])
    drawn = [one.sample(each, np.random.default_rng(0)) for one, each in ((part, rows), (latents, rows + 3))]
    np.testing.assert_array_equal(*drawn)
