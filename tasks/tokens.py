"""How many tokens a word is to a base model: a check that needs the merges file alone, not TensorFlow."""

from pathlib import Path

from trainer.base_weights.presets import PRESETS, find
from trainer.data.tokenizer import load_byte_pairs

_WORD_END = "</w>"


def pieces(word: str, base_model: str, base_dir: Path | None) -> tuple[str, ...] | None:
    """Cut a word into the base model's tokens; None when its merges file is not on this machine.

    Args:
        word: as concept.yaml has it.
        base_model: name of the preset.
        base_dir: folder of base model weights, for presets that do not ship theirs.
    """
    merges = next((file for file in PRESETS[base_model].files if file.path.endswith(".txt.gz")), None)
    path = find(merges, base_dir) if merges else None
    if path is None:
        return None
    return tuple(token.removesuffix(_WORD_END) for token in load_byte_pairs(path).tokens(word))
