"""Text to token ids: the byte-pair encoding of CLIP's text encoder, and the placeholder tokens of a concept.

Byte-pair encoding (Sennrich et al. 2016) in the byte-level form of GPT-2 (Radford et al. 2019) as CLIP uses it: a word
starts as the bytes of its UTF-8, the last one marked as the word's end, and the pair that was merged first when the
vocabulary was learned is merged again and again until no known pair is left.

The ids are those of transformers 5's CLIPTokenizer, which diffusers' pipelines use (compared by
`python -m benchmarks.odd_prompts`): texts are composed (NFC) and lower-cased character by character, and HTML entities
stay as they are written. OpenAI's CLIP and KerasCV resolve entities and compose nothing.

No TensorFlow here, and NumPy only for `rows`: `tasks` counts an initializer's tokens with it.
"""

from __future__ import annotations

import gzip
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

START_OF_TEXT, END_OF_TEXT = "<|startoftext|>", "<|endoftext|>"
MAX_VOCABULARY = 49_408
"""CLIP's merges file has more lines than its vocabulary uses; the rest is not read."""
_WORD_END = "</w>"
# Special tokens are cut out before a text is split: what is left of them here is in capitals, which are not known.
_FIXED = re.compile(rf"(?P<special>{re.escape(END_OF_TEXT)})|'(?:s|t|re|ve|m|ll|d)")
_LETTER, _NUMBER, _SIGN, _GAP = "letter", "number", "sign", "gap"
# Unlike str.isspace, CLIP's pattern takes these four control characters for signs.
_SEPARATORS = frozenset("\x1c\x1d\x1e\x1f")


def _byte_characters() -> dict[int, str]:
    """Map each byte to the character that stands for it, in the vocabulary's order: printable ones are themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + index) for index, byte in enumerate(others)}


_CHARACTERS = _byte_characters()


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    category = unicodedata.category(character)[0]
    if category == "L":
        return _LETTER
    if category == "N":
        return _NUMBER
    if character.isspace() and character not in _SEPARATORS:
        return _GAP
    return _SIGN


def normalize(text: str) -> str:
    """Compose a text's characters (NFC) and lower-case each, whatever follows it: a sigma stays one at a word's end."""
    return "".join(map(str.lower, unicodedata.normalize("NFC", text)))


def split_words(text: str) -> Iterator[str]:
    """Split a normalized text as CLIP does: English contractions, runs of letters, single digits, runs of signs.

    White space is left out.
    """
    start = 0
    while start < len(text):
        fixed = _FIXED.match(text, start)
        kind = _kind(text[start])
        end = fixed.end() if fixed else start + 1
        if not fixed and kind in (_LETTER, _SIGN):
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if fixed and fixed["special"]:
            # No run of signs reaches beyond its brackets.
            yield from (text[start : start + 2], text[start + 2 : end - 2], text[end - 2 : end])
        elif fixed or kind != _GAP:
            yield text[start:end]
        start = end


class BytePairs:
    """A vocabulary of byte pairs. `size` counts its tokens, the two special ones included.

    Args:
        merges: A gzipped text file. Its first line is a header, each other one a pair of tokens, the earliest first.
    """

    def __init__(self, merges: Path | str) -> None:
        with gzip.open(merges, "rt", encoding="utf-8", newline="\n") as file:
            lines = file.read().split("\n")[1:]
        singles = [character + ending for ending in ("", _WORD_END) for character in _CHARACTERS.values()]
        pairs = [tuple(line.split()) for line in lines[: MAX_VOCABULARY - len(singles) - 2]]
        tokens = [*singles, *("".join(pair) for pair in pairs), START_OF_TEXT, END_OF_TEXT]
        self.size = len(tokens)
        self._tokens = tokens
        self._ids = {token: index for index, token in enumerate(tokens)}
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self.start_of_text, self.end_of_text = self._ids[START_OF_TEXT], self._ids[END_OF_TEXT]
        # Prompts repeat their words.
        self._tokens_of_word = lru_cache(maxsize=4096)(self._merge)

    def tokens(self, text: str) -> list[str]:
        """Cut a text into tokens; characters stand for bytes, and the last token of a word ends with `</w>`.

        Special tokens are no others than the characters that they are written with; see `Tokenizer`.

        Raises:
            UnicodeEncodeError: The text holds half a surrogate pair.
        """
        return [token for word in split_words(normalize(text)) for token in self._tokens_of_word(word)]

    def encode(self, text: str) -> list[int]:
        """Turn a text into token ids, without start and end of text. Raises UnicodeEncodeError as `tokens`."""
        return [self._ids[token] for token in self.tokens(text)]

    def token(self, number: int) -> str:
        """Give the token of an id."""
        return self._tokens[number]

    def _merge(self, word: str) -> tuple[str, ...]:
        parts = [_CHARACTERS[byte] for byte in word.encode("utf-8")]
        parts[-1] += _WORD_END
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            merged: list[str] = []
            for part in parts:
                if merged and (merged[-1], part) == best:
                    merged[-1] += part
                else:
                    merged.append(part)
            parts = merged
        return tuple(parts)


@lru_cache(maxsize=4)
def load_byte_pairs(merges: Path) -> BytePairs:
    """Read a merges file once a process: CLIP's takes a tenth of a second."""
    return BytePairs(merges)


def placeholder_tokens(placeholder: str, num_vectors: int) -> list[str]:
    """Name the tokens of a concept with several vectors as diffusers does: `<x>`, `<x>_1`, `<x>_2`."""
    return [placeholder, *(f"{placeholder}_{index}" for index in range(1, num_vectors))]


class Tokenizer:
    """Prompts to rows of token ids of one length, as Stable Diffusion's text encoder expects them.

    Tokens that are written in a prompt have their own ids, and the longest one counts where several fit: `<x>_1` is the
    second vector of `<x>`, and in Stable Diffusion 2 every `!` is the padding. The placeholder stands for all vectors,
    as diffusers replaces it; unlike there, also in capitals.

    Args:
        merges: A gzipped file of byte-pair merges; see `BytePairs`.
        prompt_length: Tokens in a row, start and end of text included.
        placeholder: The concept's placeholder token, lower-case, or None.
        num_vectors: How many vectors stand for the placeholder.
        padding: Id that rows are filled up with, as Stable Diffusion 2 does with 0; None for the end-of-text token.
    """

    def __init__(
        self,
        merges: Path | str,
        prompt_length: int,
        placeholder: str | None = None,
        num_vectors: int = 1,
        *,
        padding: int | None = None,
    ) -> None:
        self._byte_pairs = load_byte_pairs(Path(merges))
        self.vocabulary = self._byte_pairs.size
        self.prompt_length = prompt_length
        self.placeholder = placeholder
        start, end = self._byte_pairs.start_of_text, self._byte_pairs.end_of_text
        self._padding = end if padding is None else padding
        # transformers compares the padding with the text as it is written, and other tokens with the normalized text.
        self._as_written = {self._byte_pairs.token(self._padding): self._padding}
        self._special = {START_OF_TEXT: start} | ({} if self._padding == end else {END_OF_TEXT: end})
        self._vectors = self._vector_ids(num_vectors)

    def with_vectors(self, num_vectors: int) -> Tokenizer:
        """Make a tokenizer of the same vocabulary whose placeholder stands for `num_vectors` vectors."""
        other = copy(self)
        other._vectors = self._vector_ids(num_vectors)
        return other

    def ids(self, text: str) -> list[int]:
        """Turn a text into token ids without start and end; the placeholder becomes its vectors' ids.

        Raises:
            UnicodeEncodeError: The text holds half a surrogate pair.
        """
        ids = self._ids(text)
        if len(self._vectors) > 1 and self.vocabulary in ids:
            placeholder = re.compile(re.escape(str(self.placeholder)), re.IGNORECASE | re.ASCII)
            ids = self._ids(placeholder.sub(" ".join(self._vectors), text))
        return ids

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece, special in _cut(text, self._as_written):
            if special is not None:
                ids.append(special)
                continue
            for part, known in _cut(normalize(piece), self._special | self._vectors):
                ids += self._byte_pairs.encode(part) if known is None else [known]
        return ids

    def _vector_ids(self, num_vectors: int) -> dict[str, int]:
        names = placeholder_tokens(self.placeholder, num_vectors) if self.placeholder else []
        return {name: self.vocabulary + index for index, name in enumerate(names)}

    def fits(self, text: str) -> bool:
        """Tell whether the whole text fits into a row."""
        return len(self.ids(text)) + 2 <= self.prompt_length

    def rows(self, texts: Sequence[str]) -> npt.NDArray[np.int32]:
        """Turn texts into rows of token ids, (len(texts), prompt_length) int32; a longer text is cut off at the end."""
        import numpy as np

        start, end = self._byte_pairs.start_of_text, self._byte_pairs.end_of_text
        rows = np.full((len(texts), self.prompt_length), self._padding, dtype="int32")
        for row, text in zip(rows, texts, strict=True):
            ids = [start, *self.ids(text)[: self.prompt_length - 2], end]
            row[: len(ids)] = ids
        return rows


def _cut(text: str, tokens: Mapping[str, int]) -> Iterator[tuple[str, int | None]]:
    """Cut a text before and after tokens; give each piece with its id, None for what is no token."""
    longest_first = sorted(tokens, key=len, reverse=True)
    for piece in re.split(f"({'|'.join(map(re.escape, longest_first))})", text):
        yield piece, tokens.get(piece)
