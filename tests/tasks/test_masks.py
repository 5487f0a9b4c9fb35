"""Alpha channels: a ground that shows what is opaque, and masks where `training.mask` asks for them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conceptry.errors import ImageError
from tasks.records import __main__ as command
from tasks.records import build_records, normalise
from trainer.data import records
from trainer.data.pictures import read_pictures

BOX = (20, 30, 60, 70)
"""What is opaque of pictures of 80 x 100 pixels."""


def cut_out(colour: tuple[int, ...], behind: tuple[int, ...] = (0, 0, 0)) -> Image.Image:
    image = Image.new("RGBA", (80, 100), (*behind, 0))
    image.paste((*colour, 255), BOX)
    return image


def encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def ground_of(image: Image.Image) -> Any:
    return image.getpixel((1, 1))


@pytest.mark.parametrize("behind", [(0, 0, 0), (90, 200, 10)])
def test_what_lies_behind_transparent_pixels_does_not_matter(behind: tuple[int, int, int]) -> None:
    photo = normalise(encode(cut_out((200, 40, 40), behind)), "cat.png", 80, masked=True)
    assert ground_of(photo.image) == (255, 255, 255)
    assert photo.opaque is not None
    assert photo.opaque.size == photo.image.size == (80, 100)
    mask = np.asarray(photo.opaque)
    assert mask[BOX[1] + 2 : BOX[3] - 2, BOX[0] + 2 : BOX[2] - 2].min() == 255
    assert mask.mean() / 255 == pytest.approx(0.2, abs=0.01), "the share that the box has"


def test_what_is_white_does_not_vanish() -> None:
    white = cut_out((255, 255, 255))
    with pytest.raises(ImageError, match="is blank"):
        normalise(encode(white), "logo.png", 80)
    assert ground_of(normalise(encode(white), "logo.png", 80, masked=True).image) == (128, 128, 128)
    # With eyes it is not blank, and hardly seen all the same.
    white.paste((10, 10, 10, 255), (30, 40, 35, 45))
    [warning] = normalise(encode(white), "cat.png", 80).warnings
    assert "mostly white" in warning
    assert normalise(encode(white), "cat.png", 80, masked=True).warnings == ()
    assert normalise(encode(cut_out((200, 40, 40))), "cat.png", 80).warnings == ()


def test_a_picture_that_shows_nothing_is_refused() -> None:
    with pytest.raises(ImageError, match=r"gone\.png: shows nothing: all of it is transparent"):
        normalise(encode(Image.new("RGBA", (80, 80), (9, 9, 9, 0))), "gone.png", 64, masked=True)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    cut_out((200, 40, 40)).save(folder / "a.png")
    cut_out((40, 40, 200)).resize((160, 200)).save(folder / "b.webp", lossless=True)
    return folder


def test_masks_are_in_the_records_only_if_they_are_asked_for(images: Path, tmp_path: Path) -> None:
    report = build_records(images, tmp_path / "masked", 64, mask="alpha")
    assert report.notes == ()
    for picture in read_pictures(tmp_path / "masked"):
        assert picture.mask is not None
        assert picture.mask.shape == picture.pixels.shape[:2] == (80, 64)
        seen = picture.pixels.min(axis=-1) < 128
        assert np.abs(seen.astype(int) - (picture.mask > 127)).mean() < 0.02, "it shows what is drawn"

    [note] = build_records(images, tmp_path / "plain", 64).notes
    assert "white is learned as the ground of a.png, b.webp; training.mask: alpha" in note
    assert all(picture.mask is None for picture in read_pictures(tmp_path / "plain"))
    assert records.MASK.encode() not in (tmp_path / "plain" / records.SHARD).read_bytes()


def test_pictures_without_transparency_are_named(images: Path, tmp_path: Path) -> None:
    Image.new("RGB", (80, 80), (90, 120, 30)).save(images / "c.jpg")
    [note] = build_records(images, tmp_path / "records", 64, mask="alpha").notes
    assert note == "training.mask is alpha: without transparent pixels all is learned of c.jpg"
    for name in ("a.png", "b.webp"):
        (images / name).unlink()
    Image.new("RGBA", (80, 80), (90, 20, 130, 255)).save(images / "d.png")
    with pytest.raises(ImageError, match=r"no image has transparent pixels: c\.jpg, d\.png; cut the subject out"):
        build_records(images, tmp_path / "refused", 64, mask="alpha")
    assert not (tmp_path / "refused").exists()
    assert build_records(images, tmp_path / "records", 64).notes == ()


def test_the_stage_of_the_pipeline_does_what_concept_yaml_says(images: Path, tmp_path: Path) -> None:
    text = "placeholder_token: <x>\ninitializer_token: circle\ntraining: {mask: alpha}\n"
    (tmp_path / "concept.yaml").write_text(text)
    config = tmp_path / "config.json"
    assert command.main(["--concept", str(tmp_path), "--output", str(tmp_path / "out"), "--config", str(config)]) == 0
    assert all(picture.mask is not None for picture in read_pictures(tmp_path / "out"))
    assert '"mask": "alpha"' in config.read_text()
    options = ["--images", str(images), "--resolution", "64", "--mask", "alpha", "--output", str(tmp_path / "by-hand")]
    assert command.main(options) == 0
    assert read_pictures(tmp_path / "by-hand")[0].mask is not None
