"""Does our tokenizer give the ids that pipelines of diffusers give, also for odd texts?

    python -m benchmarks.odd_prompts --peers PYTHON --merges bpe_simple_vocab_16e6.txt.gz --json

PYTHON belongs to an environment with transformers and diffusers. A thousand texts, the same ones each time: captions
into which odd things are put (see ODD). Each is tokenized for Stable Diffusion 1 and 2, with a placeholder of one and
of three vectors. `different` counts texts whose ids differ. Half a minute.

Not among them: a placeholder in capitals, for which diffusers takes its first vector only, and ours all of them.

The wheel of open_clip_torch holds the merges file, of 1.3 MB. `--record` keeps the texts and transformers' ids for
tests/trainer/test_tokenizer.py, with the few merges that they need.
"""

from __future__ import annotations

import argparse
import gzip
import html
import json
import random
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.tokenizer import MAX_VOCABULARY, Tokenizer, load_byte_pairs, placeholder_tokens

PLACEHOLDER = "<my-cat>"
COUNT = 1000
_LONGEST = 120
"""Characters of the longest words, so that the recorded file stays small."""


@dataclass(frozen=True)
class Setup:
    """A kind of base model, and a placeholder of so many vectors."""

    num_vectors: int
    padding: int | None

    def tokenizer(self, merges: Path) -> Tokenizer:
        """Load our tokenizer. Its rows are longer than a base model's, so that the ends are compared, too."""
        return Tokenizer(merges, 1000, PLACEHOLDER, self.num_vectors, padding=self.padding)

    def told(self, merges: Path) -> dict[str, Any]:
        """Say to the peer what it is."""
        pairs = load_byte_pairs(merges)
        padding = pairs.token(pairs.end_of_text if self.padding is None else self.padding)
        return {"padding": padding, "tokens": placeholder_tokens(PLACEHOLDER, self.num_vectors)}


SETUPS = {"sd1": Setup(1, None), "sd1, 3 vectors": Setup(3, None), "sd2, 3 vectors": Setup(3, 0)}

_CAPTION = (
    "a photo of my red sofa in the garden at night by van gogh portrait detailed oil painting unicorn skyscraper "
    "watercolour close-up 4k HDR trending on artstation isn't they're sea-star Ångström naïve São Łódź"
)
_SPACES = " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2002\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
_INVISIBLE = "\0\x01\x07\x08\x1b\x7f\x80\x9f\xad\u061c\u180e\u200b\u200c\u200d\u200e\u2060\ufeff\ufffd\ufe0f\U000e0041"
_MARKS = "\u0300\u0301\u0303\u0308\u030a\u0323\u0327\u0338\u0345\u0591\u064b\u093c\u0e49\u20dd\u3099"
_QUOTES = "'\"\u2018\u2019\u201a\u201c\u201d\u2032\u2033`´ʼ＇«»"
_ENTITIES = (
    "&amp;",
    "&lt;b&gt;",
    "&#39;",
    "&quot;",
    "&nbsp;",
    "&amp;amp;",
    "&eacute;",
    "&#x1F600;",
    "&copy",
    "& ",
    "&;",
)
_SPECIAL = (
    "<|startoftext|>",
    "<|endoftext|>",
    "<|StartOfText|>",
    "<|ENDOFTEXT|>",
    "<|endoftext",
    "endoftext|>",
    "<||>",
)
_EMOJI = ("😀", "❤️", "👩‍👩‍👧", "🇩🇪", "👍🏽", "1️⃣", "⭐", "🏴‍☠️")
_CASE = ("İstanbul", "ΟΔΟΣ", "ẞ", "ß", "ſ", "'ſ", "ǅ", "K", "Å", "ﬁ", "Ⅷ", "ⓐ", "Ⓐ", "𝐀", "ı", "Ǆ", "ᾼ", "Ω", "Ꭰ", "Ა")
_FORMS = (
    "가",
    "각",
    "한국어",
    "日本語",
    "中文字",
    "が",
    "कि",
    "हिन्दी",
    "ไทย",
    "العربية",
    "עִבְרִית",
    "Ελλάς",
    "Приве́т",
    "ប្រ",
)
_NUMBERS = ("1999", "3.14", "1,000", "½", "²", "Ⅷ", "٣", "१२", "①", "𝟙", "10k", "x2", "1e-5", "#1", "50%", "一二")
_CONTRACTIONS = (
    "'s",
    "'S",
    "’s",
    "n't",
    "'re",
    "'VE",
    "'m",
    "'ll",
    "'d",
    "!'s",
    "''s",
    "'sofa",
    "' s",
    "'",
    "s'",
    "'lla",
)
_SIGNS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡¿§°±×÷€™…–—•→∞√█☃♥〈〉。、！？"
_BESIDE = (
    "",
    " ",
    ".",
    ",",
    "'s",
    "!",
    "_1",
    "_2",
    "_3",
    "_12",
    "s",
    "1",
    "<",
    ">",
    "_",
    "\u0301",
    "\u0338",
    "\u200b",
    "  ",
)


def _letters(rng: random.Random) -> str:
    alphabet = rng.choice(
        ("abcdefghijklmnopqrstuvwxyz", "aab", "ABCDEFGHIJ", "éèüß", "日本語中文", "0123456789", "!?.", "aA1!")
    )
    return "".join(rng.choices(alphabet, k=rng.randint(20, _LONGEST)))


def _placeholder(rng: random.Random) -> str:
    written = rng.choice(
        (PLACEHOLDER,) * 4 + (PLACEHOLDER[:-1], PLACEHOLDER[1:], "<my cat>", "＜my-cat＞", "<my-cat\u0301>")
    )
    return rng.choice(_BESIDE) + written + rng.choice(_BESIDE)


def _code_points(rng: random.Random) -> str:
    # Blocks that Unicode filled long ago: newer characters are unknown to one of both sides.
    blocks = (
        (0x20, 0x7F),
        (0xA0, 0x180),
        (0x370, 0x374),
        (0x391, 0x3A2),
        (0x410, 0x450),
        (0x5D0, 0x5EB),
        (0x905, 0x93A),
    )
    more = ((0x1E00, 0x1EFA), (0x2010, 0x2028), (0x2100, 0x2180), (0x3041, 0x3097), (0xAC00, 0xD7A4), (0xF900, 0xFA2E))
    return "".join(chr(rng.randrange(*rng.choice(blocks + more))) for _ in range(rng.randint(1, 12)))


def _some(choices: Sequence[str]) -> Callable[[random.Random], str]:
    return lambda rng: "".join(rng.choices(choices, k=rng.choice((1, 1, 1, 2, 3))))


ODD: tuple[Callable[[random.Random], str], ...] = (
    *map(_some, (_SPACES, _INVISIBLE, _QUOTES, _ENTITIES, _SPECIAL, _EMOJI, _CASE, _FORMS, _NUMBERS, _CONTRACTIONS)),
    _some(_SIGNS),
    lambda rng: rng.choice("aeionuAEO><=日가") + _some(_MARKS)(rng),
    lambda rng: html.escape(rng.choice(("<b>it's</b>", 'a "red" & blue', "<my-cat>"))),
    _letters,
    _placeholder,
    _placeholder,
    _placeholder,
    _code_points,
)
"""Makers of what is put into captions."""


def odd_texts(count: int = COUNT, seed: int = 20) -> list[str]:
    """Make texts of a few words with one to four odd things between, beside and inside of them."""
    rng = random.Random(seed)
    texts = ["", " ", "\n", PLACEHOLDER, f"{PLACEHOLDER}_1", PLACEHOLDER * 3]
    while len(texts) < count:
        words = rng.choices(_CAPTION.split(), k=rng.randint(0, 6))
        text = rng.choice((" ", " ", " ", "  ", ", ", "-")).join(words)
        for _ in range(rng.choice((1, 1, 2, 3, 4))):
            at = rng.randint(0, len(text))
            around = rng.choice(("", " "))
            text = text[:at] + around + rng.choice(ODD)(rng) + around + text[at:]
        texts.append(text.upper() if rng.random() < 0.05 and PLACEHOLDER not in text else text)
    return texts


def merges_of(file: Path) -> list[str]:
    """Read the lines of a merges file that CLIP's vocabulary uses."""
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")[1:]
    return [line for line in lines[: MAX_VOCABULARY - 2 * 256 - 2] if line]


def needed_merges(texts: Sequence[str], file: Path) -> list[str]:
    """List the merges, in their order, that made the texts' tokens: with these alone the texts are cut the same way."""
    made_by = {line.replace(" ", ""): line for line in merges_of(file)}
    pairs, needed = load_byte_pairs(file), set()
    waiting = [token for text in texts for token in pairs.tokens(text)]
    while waiting:
        line = made_by.get(waiting.pop())
        if line is not None and line not in needed:
            needed.add(line)
            waiting += line.split(" ")
    return [line for line in made_by.values() if line in needed]


def ask(peers: str, merges: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Have transformers tokenize the texts with a merges file."""
    with tempfile.TemporaryDirectory() as name:
        request, answer = Path(name, "request.json"), Path(name, "answer.json")
        setups = {one: setup.told(merges) for one, setup in SETUPS.items()}
        request.write_text(json.dumps({"merges": merges_of(merges), "texts": texts, "setups": setups}))
        script = Path(__file__).parent / "peers" / "transformers_tokenizer.py"
        subprocess.run([peers, str(script), str(request), str(answer)], check=True, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads(answer.read_text())
        return found


def differences(merges: Path, texts: Sequence[str], wanted: dict[str, list[list[int]]]) -> list[dict[str, Any]]:
    """List the texts whose ids differ from those wanted, which include start and end of text."""
    found = []
    for name, setup in SETUPS.items():
        tokenizer = setup.tokenizer(merges)
        pairs = load_byte_pairs(merges)
        for text, theirs in zip(texts, wanted[name], strict=True):
            ours = [pairs.start_of_text, *tokenizer.ids(text), pairs.end_of_text]
            if ours != theirs:
                found.append({"setup": name, "text": text, "ours": ours, "theirs": theirs})
    return found


def record(peers: str, merges: Path, texts: Sequence[str], into: Path) -> None:
    """Keep the texts, the merges that they need, and the ids that transformers gives with those merges."""
    lines = needed_merges(texts, merges)
    with tempfile.TemporaryDirectory() as name:
        reduced = write_merges(Path(name, "merges.txt.gz"), lines)
        document = {"texts": texts, "merges": lines, **ask(peers, reduced, texts)}
    into.write_bytes(gzip.compress(json.dumps(document).encode(), mtime=0))


def write_merges(file: Path, lines: Sequence[str]) -> Path:
    """Write a merges file."""
    file.write_bytes(gzip.compress("\n".join(["#version: 0.2", *lines]).encode(), mtime=0))
    return file


def main() -> None:
    """Compare and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--peers", required=True, help="Python of an environment with transformers and diffusers")
    parser.add_argument("--merges", type=Path, required=True, help="CLIP's merges file, bpe_simple_vocab_16e6.txt.gz")
    parser.add_argument("--seed", type=int, default=20, help="makes other texts")
    parser.add_argument("--record", type=Path, help="file to write what tests/trainer/test_tokenizer.py reads")
    options = parser.parse_args()
    texts = odd_texts(seed=options.seed)
    answer = ask(options.peers, options.merges, texts)
    found = differences(options.merges, texts, answer["ids"])
    if options.record:
        record(options.peers, options.merges, texts, options.record)
    rows = {"texts": len(texts), "setups": len(SETUPS), "different": len(found), "examples": found[:10]}
    print(json.dumps(rows | {"versions": answer["versions"]}))


if __name__ == "__main__":
    main()
