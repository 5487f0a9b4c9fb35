"""The token ids that a pipeline of diffusers gives its text encoder for prompts.

    python transformers_tokenizer.py REQUEST ANSWER

run by benchmarks.odd_prompts in an environment of its own. REQUEST is a JSON file with `merges` (lines), the `texts`,
and the `setups`: the padding token and the placeholder's tokens of each. ANSWER becomes a JSON file with the ids of
each text by the name of the set-up, start and end of text included, and the libraries' versions.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import diffusers
import tokenizers
import transformers
from diffusers.loaders import TextualInversionLoaderMixin

START, END = "<|startoftext|>", "<|endoftext|>"


def characters() -> list[str]:
    """List the characters that stand for bytes, in the order of the vocabulary."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [*map(chr, printable), *(chr(0x100 + index) for index in range(256 - len(printable)))]


def load(folder: Path, merges: list[str], padding: str) -> Any:
    """Write a tokenizer's files as the Hub has them for Stable Diffusion, and load them as a pipeline does."""
    singles = characters()
    tokens = [*singles, *(f"{one}</w>" for one in singles), *(line.replace(" ", "") for line in merges), START, END]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    names = {"bos_token": START, "eos_token": END, "unk_token": END}
    special: dict[str, Any] = {name: {"content": token, **flags} for name, token in names.items()}
    told = {name: {"__type": "AddedToken", **token} for name, token in special.items()}
    config = {"tokenizer_class": "CLIPTokenizer", "do_lower_case": True, "model_max_length": 77, "pad_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | told))
    (folder / "special_tokens_map.json").write_text(json.dumps(special | {"pad_token": padding}))
    return transformers.CLIPTokenizer.from_pretrained(str(folder))


def main() -> None:
    """Tokenize every text in every set-up."""
    told = json.loads(Path(sys.argv[1]).read_text())
    found = {}
    for name, setup in told["setups"].items():
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = load(Path(folder), told["merges"], setup["padding"])
        tokenizer.add_tokens(setup["tokens"])
        convert = TextualInversionLoaderMixin().maybe_convert_prompt
        found[name] = [tokenizer(convert(text, tokenizer)).input_ids for text in told["texts"]]
    versions = {one.__name__: one.__version__ for one in (diffusers, transformers, tokenizers)}
    Path(sys.argv[2]).write_text(json.dumps({"ids": found, "versions": versions}))


if __name__ == "__main__":
    main()
