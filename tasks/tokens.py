"""Tokenisation of a word with a base model's merges file, without TensorFlow."""

from pathlib import Path

from trainer.base_weights.presets import PRESETS, find
from trainer.data.tokenizer import load_byte_pairs

_WORD_END = "</w>"


def pieces(word: str, base_model: str, base_dir: Path | None) -> tuple[str, ...] | None:
    """Return the base model's tokens of a word; None if its merges file is not on this machine.

    Args:
        word: Word from concept.yaml.
        base_model: Name of the preset.
        base_dir: Folder of base model weights, for presets without shipped weights.
    """
    merges = next((file for file in PRESETS[base_model].files if file.path.endswith(".txt.gz")), None)
    path = find(merges, base_dir) if merges else None
    if path is None:
        return None
    return tuple(token.removesuffix(_WORD_END) for token in load_byte_pairs(path).tokens(word))
