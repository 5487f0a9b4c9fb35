"""Records, look-alikes, crops and copies of real photographs, which are not part of the project.

They are read where they lie: CONCEPTRY_PHOTOGRAPHS names a folder with one folder of photographs for each subject, as
the DreamBooth data set has them.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tasks.records import build_records
from trainer import training_config
from trainer.data.held_out import alike_groups
from trainer.data.latents import encode_views
from trainer.data.perceptual_hash import Look, hash_parts, perceptual_hash
from trainer.data.pictures import Picture, read_pictures, split_held_out
from trainer.sampling.copies import find_copies

DATA = Path(os.environ.get("CONCEPTRY_PHOTOGRAPHS", Path(__file__).parents[3] / "shared" / "data" / "dreambooth"))
SUBJECTS = sorted(path for path in DATA.iterdir() if path.is_dir()) if DATA.is_dir() else []
SIDE = 256

pytestmark = pytest.mark.skipif(not SUBJECTS, reason="CONCEPTRY_PHOTOGRAPHS names no folder of photographs")


def settings(**values: object) -> training_config.Config:
    words = {"placeholder_token": "<x>", "initializer_token": "stuffed animal", "base_model": "sd-v1-4"}
    return training_config.parse({**words, "resolution": SIDE, **values})


@pytest.fixture(scope="module", params=SUBJECTS, ids=lambda path: path.name)
def subject(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


@pytest.fixture(scope="module")
def pictures(subject: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    records = tmp_path_factory.mktemp(subject.name) / "records"
    report = build_records(subject, records, SIDE)
    assert report.count == report.different == len(list(subject.iterdir()))
    assert report.warnings == (), "no photograph of a subject is taken for another one's copy"
    return read_pictures(records)


def test_a_third_of_the_photographs_is_held_out(pictures: list[Picture]) -> None:
    training, held_out = split_held_out(pictures, settings())
    assert (len(training), len(held_out)) == (len(pictures) - 2, 2)
    assert min(min(picture.pixels.shape[:2]) for picture in pictures) == SIDE


def changed(picture: Image.Image) -> dict[str, Image.Image]:
    """The photograph as it comes back from an editor or a messenger."""
    wide, high = picture.size
    return {
        "smaller": picture.resize((wide // 2, high // 2)),
        "mirrored": picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "cropped": picture.crop((wide // 50, high // 50, wide - wide // 50, high - high // 50)),
        "brighter": picture.point(lambda value: min(255, int(value * 1.15))),
    }


def test_a_photograph_that_was_saved_again_is_a_look_alike(pictures: list[Picture]) -> None:
    first = Image.fromarray(pictures[0].pixels)
    looks = [Look.of(Image.fromarray(picture.pixels)) for picture in pictures]
    for how, picture in changed(first).items():
        groups = alike_groups([*looks, Look.of(picture)])
        assert groups[-1] == groups[0], how
        assert len(set(groups)) == len(pictures), how


def test_crops_are_sharp_parts_of_their_photograph(pictures: list[Picture]) -> None:
    crops: list[np.ndarray] = []

    def encoder(pixels: tf.Tensor) -> tf.Tensor:
        crops.append(np.asarray((pixels[0] + 1.0) * 127.5))
        return tf.zeros((1, SIDE // 8, SIDE // 8, 8))

    config = settings(training={"flips": False})
    encode_views(pictures[:1], encoder, config, 16, seed=1)
    whole = Image.fromarray(pictures[0].pixels)
    for crop in crops:
        assert crop.shape == (SIDE, SIDE, 3)
        shown = perceptual_hash(Image.fromarray(crop.astype("uint8")))
        sizes = [(SIDE * scale,) * 2 for scale in np.linspace(0.9, 1.0, 6)]
        assert float(np.max(hash_parts(whole, sizes, 0.01) @ shown)) >= 0.985, "90 to 100 % of its shorter side"
    assert len({crop.tobytes() for crop in crops}) == len(crops)


def test_a_copy_is_found_and_another_photograph_is_none(pictures: list[Picture]) -> None:
    samples = [np.asarray(Image.fromarray(picture.pixels).resize((SIDE, SIDE))) for picture in pictures]
    assert find_copies(samples[:1], pictures[1:]) == ()
    square = Picture(samples[0], "", "copied.jpg")
    (copy,) = find_copies(samples[:1], [square, *pictures[1:]])
    assert (copy.sample, copy.picture) == (0, "copied.jpg")
