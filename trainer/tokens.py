"""Text to token ids: KerasCV's tokenizer with the placeholder tokens of a concept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from keras_cv.src.models.stable_diffusion.clip_tokenizer import SimpleTokenizer


def placeholder_tokens(placeholder: str, num_vectors: int) -> list[str]:
    """The tokens of a concept with several vectors, named as diffusers does: `<x>`, `<x>_1`, `<x>_2`."""
    return [placeholder, *(f"{placeholder}_{index}" for index in range(1, num_vectors))]


class Tokenizer:
    """Prompts to rows of token ids, padded with the end-of-text token as Stable Diffusion's text encoder expects.

    Args:
        merges: A gzipped file of byte-pair merges; its first line is a header.
        prompt_length: Tokens in a row, start and end of text included.
        placeholder: The concept's placeholder token, or None.
        num_vectors: How many vectors stand for the placeholder.
    """

    def __init__(
        self, merges: Path | str, prompt_length: int, placeholder: str | None = None, num_vectors: int = 1
    ) -> None:
        self._tokenizer = SimpleTokenizer(bpe_path=str(merges))
        self.vocabulary = len(self._tokenizer.vocab)
        self.prompt_length = prompt_length
        self.placeholder = placeholder
        names = placeholder_tokens(placeholder, num_vectors) if placeholder else []
        # Each placeholder is cut out of the text before the tokenizer sees it, so that one never splits another.
        self._new = [self.vocabulary + index for index in range(len(names))]

    def ids(self, text: str) -> list[int]:
        """The ids of a text without start and end; the placeholder becomes its vectors' ids."""
        if not self.placeholder:
            return list(self._tokenizer.encode(text)[1:-1])
        pieces = text.lower().split(self.placeholder)
        ids: list[int] = []
        for index, piece in enumerate(pieces):
            if index:
                ids += self._new
            if piece.strip():
                ids += self._tokenizer.encode(piece)[1:-1]
        return ids

    def fits(self, text: str) -> bool:
        """Whether the whole text fits into a row."""
        return len(self.ids(text)) + 2 <= self.prompt_length

    def rows(self, texts: Sequence[str]) -> npt.NDArray[np.int32]:
        """Token ids, (len(texts), prompt_length) int32; a longer text is cut off at the end."""
        end = self._tokenizer.end_of_text
        rows = np.full((len(texts), self.prompt_length), end, dtype="int32")
        for row, text in zip(rows, texts, strict=True):
            ids = [self._tokenizer.start_of_text, *self.ids(text)[: self.prompt_length - 2], end]
            row[: len(ids)] = ids
        return rows
