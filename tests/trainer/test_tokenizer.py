"""Prompts become rows of ids in which the placeholder is one unit; the ids are those of diffusers' pipelines."""

import gzip
import json
import subprocess
import sys
import unicodedata
from itertools import islice, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_cv.src.models.stable_diffusion.clip_tokenizer import SimpleTokenizer

from benchmarks.odd_prompts import differences, write_merges
from trainer.base_weights.presets import locate
from trainer.data.tokenizer import MAX_VOCABULARY, BytePairs, Tokenizer, normalize, placeholder_tokens
from trainer.tiny import world

MERGES = locate("tiny")["merges.txt.gz"]
PLAIN = Tokenizer(MERGES, 24)
RECORDED = Path(__file__).parent / "tokenizer" / "odd_prompts.json.gz"


def test_every_word_of_the_world_is_one_token() -> None:
    assert [word for word in world.WORDS if len(PLAIN.ids(word)) != 1] == []


def test_a_placeholder_becomes_its_vectors() -> None:
    tokenizer = Tokenizer(MERGES, 24, "<my-cat>", 3)
    new = [tokenizer.vocabulary + index for index in range(3)]
    assert tokenizer.ids("a photo of <my-cat>") == PLAIN.ids("a photo of") + new
    assert tokenizer.ids("<My-Cat> on a <my-cat>") == new + PLAIN.ids("on a") + new


def test_vectors_are_named_as_diffusers_does() -> None:
    assert placeholder_tokens("<x>", 3) == ["<x>", "<x>_1", "<x>_2"]


def test_ids_of_odd_texts_are_those_of_diffusers(tmp_path: Path) -> None:
    """Recorded by `python -m benchmarks.odd_prompts --record`, with the part of CLIP's merges that the texts need."""
    recorded = json.loads(gzip.decompress(RECORDED.read_bytes()))
    merges = write_merges(tmp_path / "merges.txt.gz", recorded["merges"])
    assert len(recorded["texts"]) == 1000
    assert differences(merges, recorded["texts"], recorded["ids"]) == []


def test_one_of_several_vectors_can_be_named() -> None:
    tokenizer = Tokenizer(MERGES, 24, "<x>", 3)
    first, second, third = (tokenizer.vocabulary + index for index in range(3))
    assert tokenizer.ids("<x>_1") == [second]
    assert tokenizer.ids("<x>_3") == [first, second, third, *PLAIN.ids("_3")]


def test_stable_diffusion_2_reads_its_padding_in_a_prompt() -> None:
    sign = PLAIN.ids("!")
    assert Tokenizer(MERGES, 24, padding=0).ids("red!!") == [*PLAIN.ids("red"), 0, 0]
    assert sign != [0]


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


@pytest.fixture(scope="module", params=["tiny", "many merges"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[BytePairs, SimpleTokenizer]:
    """Our tokenizer and KerasCV's, of the same merges: those of `tiny`, and more than a vocabulary of CLIP's holds."""
    merges = MERGES
    if request.param != "tiny":
        merges = tmp_path_factory.mktemp("merges") / "merges.txt.gz"
        merges.write_bytes(gzip.compress("\n".join(["#version: many", *many_merges(), ""]).encode()))
    return BytePairs(merges), SimpleTokenizer(bpe_path=str(merges))


def many_merges() -> list[str]:
    """Pairs of letters, with and without a word's end, pairs of such pairs, and bytes that are no letters."""
    letters = "etaoinshrdlucmfwygpbvk"
    ends = ["", "</w>"]
    pairs = [f"{one} {two}{end}" for end in ends for one, two in product(letters, repeat=2)]
    fours = [f"{a + b} {c + d}{end}" for a, b, c, d, end in product(letters, letters, letters[:9], letters[:9], ends)]
    signs = ["a a", "aa a", "Ã ©", "Ã ©</w>", "! !", "< |", "ì ķ", "' s</w>", "æ Ĺ", "æĹ ¥</w>"]
    return [*signs, *pairs, *islice(fours, MAX_VOCABULARY)]


# KerasCV resolves entities, leaves out U+0345 and, at the ends of a text, separators, and takes a long s after an
# apostrophe for a contraction.
OTHERWISE = "&\u0345ſ\x1c\x1d\x1e\x1f"
WHERE_BOTH_AGREE = st.characters(exclude_categories=("Cs", "Cn"), exclude_characters=OTHERWISE)
TEXTS = (
    "a photo of a red circle", "It's we're I've I'm they'll he'd can't", "IT'S THE'RE", "!'s", "''s", "x2 1999 ½ Ⅷ ²",
    "under_score two-tone", "naïve café Ångström İstanbul ſ ﬆ", "日本語 한국어 हिन्दी ไทย", "😀👩‍👩‍👧 ❤️",
    "aaa aaaa aaaaa", "  many \t blanks\u00a0\u2003\n here ", "a\x1cb",
    "", " ", "\0", "()[]{}<>", "<my-cat>_1",
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_kerascvs(both: tuple[BytePairs, SimpleTokenizer], text: str) -> None:
    ours, theirs = both
    assert [ours.start_of_text, *ours.encode(text), ours.end_of_text] == theirs.encode(text)


def test_the_vocabulary_is_kerascvs(both: tuple[BytePairs, SimpleTokenizer]) -> None:
    ours, theirs = both
    assert (ours.size, ours.start_of_text, ours.end_of_text) == (
        len(theirs.vocab), theirs.start_of_text, theirs.end_of_text
    )  # fmt: skip
    assert ours.size <= MAX_VOCABULARY


@settings(max_examples=300)
@given(st.text(WHERE_BOTH_AGREE, max_size=40) | st.text("aet'<|> \t;#39", max_size=30))
def test_ids_of_any_text_are_kerascvs(both: tuple[BytePairs, SimpleTokenizer], text: str) -> None:
    ours, theirs = both
    assert ours.encode(text) == theirs.encode(normalize(text))[1:-1]


def test_every_kind_of_character_is_split_as_kerascv_does(both: tuple[BytePairs, SimpleTokenizer]) -> None:
    # Python's tables of Unicode are older than those of the package that KerasCV splits with: characters that Python
    # does not know yet are signs here.
    ours, theirs = both
    points = [*range(0x3000), *range(0x3000, 0x20000, 7), *range(0x20000, 0x110000, 997)]
    for character in (chr(point) for point in points):
        if unicodedata.category(character) not in ("Cn", "Cs") and character not in OTHERWISE:
            text = f"a{character}a {character}1{character}{character} !{character}! '{character}"
            assert ours.encode(text) == theirs.encode(normalize(text))[1:-1], f"U+{ord(character):04X}"


def test_half_a_character_is_refused_as_kerascv_does(both: tuple[BytePairs, SimpleTokenizer]) -> None:
    for tokenizer in both:
        with pytest.raises(UnicodeEncodeError):
            tokenizer.encode("a \ud83d b")


def test_neither_trainer_nor_space_needs_keras_cv_to_tokenize() -> None:
    program = (
        "import sys\nfrom trainer.base_weights.presets import locate\nfrom trainer.data.tokenizer import Tokenizer\n"
        "print(Tokenizer(locate('tiny')['merges.txt.gz'], 24).rows(['red circle'])[0, 1])\n"
        "print(*({'keras_cv', 'regex', 'tensorflow'} & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == [str(PLAIN.ids("red")[0])]
