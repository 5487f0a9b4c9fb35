"""Which samples are called copies of a training picture."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from trainer.data.pictures import Picture, Pixels
from trainer.sampling.copies import find_copies


def photograph(seed: int, width: int = 120, height: int = 80) -> Picture:
    """A picture of soft colours all over, unlike that of any other seed."""
    field = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), "uint8"))
    return Picture(np.asarray(field.resize((width, height), Image.Resampling.BICUBIC)), "", f"{seed}.jpg")


def sample_of(picture: Picture, left: int, side: int = 76) -> Image.Image:
    image = Image.fromarray(picture.pixels)
    return image.crop((left, 2, left + side, 2 + side)).resize((64, 64))


def changed(image: Image.Image) -> list[Pixels]:
    """The same picture as it is, mirrored, blurred and paler, and noisy."""
    noise = np.random.default_rng(0).normal(0, 12, (64, 64, 3))
    paler = ImageEnhance.Contrast(image.filter(ImageFilter.GaussianBlur(1))).enhance(0.8)
    noisy = np.clip(np.asarray(image, float) + noise, 0, 255).astype("uint8")
    return [np.asarray(image), np.asarray(ImageOps.mirror(image)), np.asarray(paler), noisy]


@pytest.mark.parametrize("left", [0, 20, 44])
def test_a_crop_of_a_picture_is_a_copy_of_it_however_it_was_changed(left: int) -> None:
    pictures = [photograph(seed) for seed in range(4)]
    found = find_copies(changed(sample_of(pictures[2], left)), pictures)
    assert [(copy.sample, copy.picture) for copy in found] == [(index, "2.jpg") for index in range(4)]
    assert all(0.96 <= copy.correlation <= 1.0 for copy in found)


def test_other_pictures_are_no_copies() -> None:
    pictures = [photograph(seed) for seed in range(4)]
    assert find_copies([np.asarray(sample_of(photograph(seed), 20)) for seed in range(10, 30)], pictures) == ()


def test_where_the_pictures_look_alike_a_sample_that_does_so_too_is_no_copy() -> None:
    one = photograph(0)
    paler = np.clip(one.pixels.astype(float) * 0.9 + 20, 0, 255).astype("uint8")
    assert find_copies([np.asarray(sample_of(one, 20))], [one, Picture(paler, "", "paler.jpg")]) == ()
    assert len(find_copies([np.asarray(sample_of(one, 20))], [one])) == 1
