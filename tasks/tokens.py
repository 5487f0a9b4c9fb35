"""How many tokens a word is to a base model: a check that needs the merges file alone, not TensorFlow.

Byte-pair encoding as Stable Diffusion's text encoder reads it (Sennrich et al. 2016, in the byte-level form of GPT-2
and CLIP): a word starts as single letters, the last one marked, and the pair that was merged first in training is
merged again and again until no known pair is left.
"""

import gzip
import re
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from trainer import presets

_WORD_END = "</w>"
# Letters, single digits, and runs of what is neither.
_PARTS = re.compile(r"[^\W\d_]+|\d|(?:[^\s\w]|_)+")


def pieces(word: str, base_model: str, base_dir: Path | None) -> tuple[str, ...] | None:
    """Cut a word into the base model's tokens; None when its merges file is not on this machine.

    Args:
        word: as concept.yaml has it.
        base_model: name of the preset.
        base_dir: folder of base model weights, for presets that do not ship theirs.
    """
    file = _merges_file(base_model, base_dir)
    if file is None:
        return None
    ranks = _ranks(file)
    return tuple(piece for part in _PARTS.findall(word.lower()) for piece in _merge(part, ranks))


def _merges_file(base_model: str, base_dir: Path | None) -> Path | None:
    for file in presets.PRESETS[base_model].files:
        if file.path.endswith(".txt.gz"):
            places = [base_dir / Path(file.path).name] if base_dir else []
            if file.url is None:
                places.append(presets.HERE / file.path)
            return next((place for place in places if place.is_file()), None)
    return None


@lru_cache(maxsize=4)
def _ranks(file: Path) -> dict[tuple[str, str], int]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        next(lines)  # a header
        merges = [tuple(line.split()) for line in lines]
    # CLIP's file has more lines than its vocabulary uses: 49,152 of tokens, less 256 bytes and 2 special ones.
    return {(pair[0], pair[1]): rank for rank, pair in enumerate(merges[: 49152 - 256 - 2]) if len(pair) == 2}


def _merge(part: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    letters = [_byte(byte) for byte in part.encode()]
    letters[-1] += _WORD_END
    while len(letters) > 1:
        pairs = list(pairwise(letters))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        merged: list[str] = []
        for letter in letters:
            if merged and (merged[-1], letter) == best:
                merged[-1] += letter
            else:
                merged.append(letter)
        letters = merged
    return [letter.removesuffix(_WORD_END) for letter in letters]


def _byte(byte: int) -> str:
    """The character that stands for a byte; those that cannot be printed have one above 255."""
    return _BYTES[byte]


def _bytes_to_characters() -> list[str]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (byte for byte in range(256) if byte not in printable)
    return [
        character
        for _, character in sorted(
            [
                *((byte, chr(byte)) for byte in printable),
                *((byte, chr(256 + place)) for place, byte in enumerate(others)),
            ]
        )
    ]


_BYTES = _bytes_to_characters()
