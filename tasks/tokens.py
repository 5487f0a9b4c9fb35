"""Tokenisation of a word with a base model's merges file, without TensorFlow."""

from pathlib import Path

from conceptry.concept import ConceptSpec
from tasks.base_models import preset_of
from trainer.base_weights.presets import Preset, find
from trainer.data.tokenizer import load_byte_pairs

_WORD_END = "</w>"


def pieces(word: str, preset: Preset, base_dir: Path | None) -> tuple[str, ...] | None:
    """Return the base model's tokens of a word; None if its merges file is not on this machine.

    Args:
        word: Word from concept.yaml.
        preset: The base model.
        base_dir: Folder of base model weights, for presets without shipped weights.
    """
    merges = next((file for file in preset.files if file.path.endswith(".txt.gz")), None)
    path = find(merges, base_dir) if merges else None
    if path is None:
        return None
    return tuple(token.removesuffix(_WORD_END) for token in load_byte_pairs(path).tokens(word))


def initializer_problem(spec: ConceptSpec, base_dir: Path | None) -> str | None:
    """Return what is wrong with a concept's initializer; None if the base model knows its words, or cannot say.

    A word is known if it is one token: the pieces of other words mean something else to the base model.

    Args:
        spec: concept.yaml.
        base_dir: Folder of base model weights, for presets without shipped weights.
    """
    if spec.initial_version is not None:
        return None
    preset = preset_of(spec)
    for word in spec.initializer_token.split():
        cut = pieces(word, preset, base_dir)
        if cut is not None and len(cut) > 1:
            known = preset.words
            words = f", for example {', '.join(known)}" if known else ""
            found = f"{word!r} is {len(cut)} tokens in {spec.base_model} ({' + '.join(cut)})"
            return f"{found}; choose a word that is one token{words}"
    return None
