"""What a picture is called while a token is trained: templates, captions, and where the vectors start."""

import numpy as np
import pytest

from trainer import objective, training_config
from trainer.base_weights.base_model import BaseModel
from trainer.data import batches, prompts
from trainer.data.latents import Latents


def settings(**changes: object) -> training_config.Config:
    words = {"placeholder_token": "<x>", "initializer_token": "circle", "base_model": "tiny"}
    return training_config.parse(words | changes)


@pytest.mark.parametrize(
    ("caption", "prompt"),
    [
        ("", "a photo of <x>"),
        ("on a red sofa", "a photo of <x>, on a red sofa"),
        ("my {} asleep", "my <x> asleep"),
        ("<X> in the snow", "<X> in the snow"),
    ],
)
def test_a_caption_says_what_else_is_there(caption: str, prompt: str) -> None:
    assert prompts.captioned("a photo of {}", caption, "<x>") == prompt


def test_own_templates_take_the_place_of_ours() -> None:
    base = BaseModel("tiny")
    tokenizer = base.tokenizer("<x>")
    frozen = objective.Frozen(base.text_encoder(tokenizer.vocabulary), base.diffusion_model(64, 64), tokenizer)
    latents = Latents(np.zeros((2, 8, 8, 4), "float32"), np.zeros((2, 8, 8, 4), "float32"), ("", "{} big"))
    wanted = settings(training={"templates": ["a red {}"], "batch_size": 32})
    rows = {tuple(row) for row in batches.draw_batch(latents, frozen.tokenizer, wanted, 0).tokens.tolist()}
    assert rows == {tuple(row) for row in tokenizer.rows(["a red <x>", "<x> big"]).tolist()}


@pytest.mark.parametrize("text", ["no place", "{} and {}", "{0} or {}", 7])
def test_a_template_has_one_place_for_the_token(text: object) -> None:
    with pytest.raises(training_config.ConfigError, match=r"must be a sentence with one \{\}"):
        settings(training={"templates": [text]})


def test_an_initializer_of_several_tokens_gives_each_vector_its_own() -> None:
    base = BaseModel("tiny")
    tokenizer = base.tokenizer("<x>", 3)
    frozen = objective.Frozen(base.text_encoder(tokenizer.vocabulary), base.diffusion_model(64, 64), tokenizer)
    table = np.asarray(frozen.text_encoder.table)
    rows = table[tokenizer.ids("red circle")]
    three = objective.initial_vectors(settings(initializer_token="red circle", num_vectors=3), frozen)
    np.testing.assert_array_equal(three[:2], rows)
    assert np.linalg.norm(three[2] - rows.mean(axis=0)) > 0
    one = objective.initial_vectors(settings(initializer_token="red circle"), frozen)
    np.testing.assert_allclose(one[0], rows.mean(axis=0), rtol=1e-6)
