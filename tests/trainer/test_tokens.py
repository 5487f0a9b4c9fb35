"""Prompts become rows of ids in which the placeholder is one unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.presets import locate
from trainer.tiny import world
from trainer.tokens import Tokenizer, placeholder_tokens

MERGES = locate("tiny")["merges.txt.gz"]
PLAIN = Tokenizer(MERGES, 24)


def test_every_word_of_the_world_is_one_token() -> None:
    assert [word for word in world.WORDS if len(PLAIN.ids(word)) != 1] == []


def test_a_placeholder_becomes_its_vectors() -> None:
    tokenizer = Tokenizer(MERGES, 24, "<my-cat>", 3)
    new = [tokenizer.vocabulary + index for index in range(3)]
    assert tokenizer.ids("a photo of <my-cat>") == PLAIN.ids("a photo of") + new
    assert tokenizer.ids("<My-Cat> on a <my-cat>") == new + PLAIN.ids("on a") + new


def test_vectors_are_named_as_diffusers_does() -> None:
    assert placeholder_tokens("<x>", 3) == ["<x>", "<x>_1", "<x>_2"]


def test_rows_start_and_end_as_the_encoder_expects() -> None:
    row = PLAIN.rows(["red circle"])[0].tolist()
    end = row[-1]
    assert row[1:3] == PLAIN.ids("red circle")
    assert row[3:] == [end] * 21
    assert row[0] == end - 1


@given(st.text(max_size=200))
def test_any_text_fits_into_a_row(text: str) -> None:
    row = PLAIN.rows([text])[0]
    assert row.shape == (24,)
    assert row.max() < PLAIN.vocabulary
    assert PLAIN.fits(text) == (len(PLAIN.ids(text)) <= 22)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_nothing_is_start_and_end(text: str) -> None:
    assert PLAIN.ids(text) == []
