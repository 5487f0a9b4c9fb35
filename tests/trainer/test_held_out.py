"""Which pictures are held out: how many, never one that looks like another, and the same ones when some are added."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from trainer.data.pictures import Picture, split_held_out
from trainer.tiny import world
from trainer.training_config import Config, parse


def config(**training: object) -> Config:
    return parse({"placeholder_token": "<x>", "initializer_token": "cat", "base_model": "tiny", "training": training})


def photographs(count: int, seed: int = 0) -> list[Picture]:
    """Pictures of 4 x 4 coloured fields, none like another."""
    rng = np.random.default_rng(seed)
    fields = [Image.fromarray(rng.integers(0, 256, (4, 4, 3), "uint8")) for _ in range(count)]
    return [Picture(np.asarray(field.resize((96, 64), Image.Resampling.BICUBIC)), "") for field in fields]


@pytest.mark.parametrize(
    ("count", "held_out"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 2), (8, 3), (11, 4), (20, 4), (100, 4)]
)
def test_about_a_third_is_held_out_and_four_at_most(count: int, held_out: int) -> None:
    kept, judged = split_held_out(photographs(count), config())
    assert (len(kept), len(judged)) == (count - held_out, held_out)


@pytest.mark.parametrize(("wanted", "held_out"), [(0, 0), (1, 1), (4, 4), (99, 4)])
def test_a_number_that_is_asked_for_is_held_out_as_long_as_two_stay(wanted: int, held_out: int) -> None:
    assert len(split_held_out(photographs(6), config(held_out=wanted))[1]) == held_out


def test_no_picture_is_lost_and_none_is_on_both_sides() -> None:
    found = photographs(9)
    kept, judged = split_held_out(found, config())
    assert sorted(map(id, kept + judged)) == sorted(map(id, found))


def test_pictures_that_are_added_leave_the_choice_as_it_was() -> None:
    found = photographs(5)
    before = {id(picture) for picture in split_held_out(found, config())[1]}
    stayed = [
        len(before & {id(picture) for picture in split_held_out([*found, *photographs(2, seed)], config())[1]})
        for seed in range(1, 9)
    ]
    assert np.mean(stayed) >= 1.0, "with a new draw it would be 2 of 2 in one of 21 cases"
    assert before != {id(picture) for picture in split_held_out(found, config(seed=1))[1]}


def variants(picture: Picture) -> list[Picture]:
    """The same photograph as people keep it twice: brighter, smaller, mirrored, trimmed at one corner."""
    image = Image.fromarray(picture.pixels)
    brighter = ImageEnhance.Brightness(image).enhance(1.2)
    smaller = image.resize((48, 32)).resize((96, 64))
    trimmed = image.crop((5, 0, 96, 61))
    return [Picture(np.asarray(one), "") for one in (brighter, smaller, ImageOps.mirror(image), trimmed)]


@pytest.mark.parametrize("seed", range(6))
def test_a_picture_that_looks_like_another_is_never_held_out(seed: int) -> None:
    found = photographs(3)
    twice = [*found, *variants(found[0]), *variants(found[1])]
    _, judged = split_held_out(twice, config(seed=seed))
    assert [id(picture) for picture in judged] == [id(found[2])], "three different ones: one can be held out"


def test_copies_of_two_pictures_leave_nothing_to_judge_by() -> None:
    found = photographs(2)
    assert split_held_out([*found, *variants(found[0])], config(held_out=1))[1] == []


def test_shapes_of_the_tiny_world_count_as_different() -> None:
    rng = np.random.default_rng(1)
    found = [Picture(np.asarray(world.draw("teal", "crescent", rng)), "") for _ in range(5)]
    assert len(split_held_out(found, config())[1]) == 2
