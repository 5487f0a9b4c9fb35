"""Words cut into tokens without TensorFlow, as KerasCV's tokenizer cuts them."""

import gzip
from pathlib import Path

import pytest
from keras_cv.src.models.stable_diffusion.clip_tokenizer import SimpleTokenizer

from conceptry.concept import ConceptSpec
from tasks.tokens import initializer_problem, pieces
from trainer.base_weights import presets

WORDS = ["ball", "circle", "red", "zebra", "two-tone", "x2", "naïve", "日本", "under_score", "don't", "a"]


@pytest.mark.parametrize("word", WORDS)
def test_tiny_words_are_cut_as_the_tokenizer_does(word: str) -> None:
    tokenizer = SimpleTokenizer(bpe_path=str(presets.TRAINER / "tiny" / "merges.txt.gz"))
    cut = pieces(word, presets.PRESETS["tiny"], None)
    assert cut is not None
    assert len(cut) == len(tokenizer.encode(word)) - 2


def test_a_base_model_without_its_merges_here_is_not_judged(tmp_path: Path) -> None:
    assert pieces("cat", presets.PRESETS["sd-v1-4"], None) is None
    assert pieces("cat", presets.PRESETS["sd-v1-4"], tmp_path) is None
    with gzip.open(tmp_path / "bpe_simple_vocab_16e6.txt.gz", "wt") as file:
        file.write("#version\nc a\nca t</w>\n")
    assert pieces("cat", presets.PRESETS["sd-v1-4"], tmp_path) == ("cat",)
    assert pieces("cats", presets.PRESETS["sd-v1-4"], tmp_path) == ("ca", "t", "s")


def spec_of(word: str, base_model: str = "tiny") -> ConceptSpec:
    return ConceptSpec.model_validate({"placeholder_token": "<x>", "initializer_token": word, "base_model": base_model})


def test_an_initializer_that_the_base_model_does_not_know_is_named_with_words_that_it_does() -> None:
    problem = initializer_problem(spec_of("cat"), None)
    assert problem == (
        "'cat' is 3 tokens in tiny (c + a + t); choose a word that is one token, for example circle, square, triangle, "
        "star, heart, ring, cross, crescent"
    )
    assert initializer_problem(spec_of("blue cat"), None) == problem
    assert initializer_problem(spec_of("ring"), None) is None
    assert initializer_problem(spec_of("blue ring"), None) is None
    assert initializer_problem(spec_of("cat", "sd-v1-4"), None) is None, "its vocabulary is not on this machine"
