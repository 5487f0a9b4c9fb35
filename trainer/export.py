"""Write what was learned: a SavedModel for TensorFlow, and a safetensors file for other programs.

    python -m trainer.export --base-model tiny --embeds learned_embeds.safetensors --output text_encoder

The graph is the same, byte for byte, for every version and from every process (`trainer.canonical_graph`). On a CPU the
trainer writes it itself, with the weights that it has. Beside a GPU, and on several devices, another process writes it
on the CPU meanwhile: what is traced there names no device, and the memory of the GPU belongs to the training.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from trainer.base_weights.base_model import BaseModel
from trainer.base_weights.presets import Preset, of, parse_reference, reference
from trainer.canonical_graph import canonicalize
from trainer.models.text_encoder import TextEncoder

_ROWS = "rows"


class _OwnShard(tf.train.experimental.ShardingCallback):  # type: ignore[misc]
    """Puts the new rows into a file of their own.

    All other files are then byte-identical between versions, so that a hub that has them once has them for good.
    """

    @property
    def description(self) -> str:
        return "The new rows in a shard of their own."

    def __call__(self, shardable_tensors: Sequence[Any]) -> list[dict[str, dict[str, Any]]]:
        frozen: dict[str, dict[str, Any]] = {}
        rows: dict[str, dict[str, Any]] = {}
        for part in shardable_tensors:
            shard = rows if part.checkpoint_key.startswith(_ROWS + "/") else frozen
            shard.setdefault(part.checkpoint_key, {})[part.slice_spec] = part.tensor
        return [shard for shard in (frozen, rows) if shard]


class _Encoder(tf.Module):  # type: ignore[misc]
    """The frozen text encoder and the new rows, behind one signature."""

    def __init__(self, text_encoder: TextEncoder, rows: npt.NDArray[np.float32], length: int) -> None:
        super().__init__(name="text_encoder")
        self.frozen = text_encoder.weights
        self._text_encoder = text_encoder
        self.rows = tf.Variable(rows, name=_ROWS, trainable=False)
        spec = [tf.TensorSpec((None, length), tf.int32, name) for name in ("tokens", "positions")]
        self.encode = tf.function(self._encode, input_signature=spec, autograph=False)

    def _encode(self, tokens: Any, positions: Any) -> Any:
        return self._text_encoder.encode_with_placeholders(tokens, self.rows, positions)


def saved_model(path: Path, text_encoder: TextEncoder, rows: npt.NDArray[np.float32], length: int) -> None:
    """Write a SavedModel: tokens and positions, (B, length) int32 each, to the context, (B, length, D) float32.

    Ids from the vocabulary's size on are the new rows. The function is there as `encode` and as the signature
    `serving_default` with the output `context`.
    """
    module = _Encoder(text_encoder, rows, length)

    @tf.function(input_signature=module.encode.input_signature, autograph=False)  # type: ignore[untyped-decorator,unused-ignore]
    def serving(tokens: Any, positions: Any) -> dict[str, Any]:
        return {"context": module.encode(tokens, positions)}

    options = tf.saved_model.SaveOptions(experimental_sharding_callback=_OwnShard())
    tf.saved_model.save(module, str(path), signatures={"serving_default": serving}, options=options)
    canonicalize(path)


def learned_embeds(path: Path, placeholder: str, rows: npt.NDArray[np.float32]) -> None:
    """Write the vectors, (num_vectors, D) float32, keyed by the placeholder token, as diffusers and web UIs load it."""
    save_file({placeholder: np.ascontiguousarray(rows, "float32")}, str(path), metadata={"format": "pt"})


def write_here(
    base: BaseModel, embeds: Path, output: Path, text_encoder: TextEncoder | None = None
) -> subprocess.Popen[str] | None:
    """Write the SavedModel of learned vectors in this process, whose only device is a CPU.

    Args:
        base: The base model.
        embeds: A learned_embeds.safetensors.
        output: Folder of the SavedModel.
        text_encoder: The base model's; it is loaded where there is none.

    Returns:
        None; where it failed, which is said on stderr, another process that tries it: see `finish`.
    """
    try:
        _write(base, embeds, output, text_encoder)
    except Exception as error:  # noqa: BLE001 - whatever it was, the vectors are learned and another process may succeed
        print(f"trainer: another process writes the SavedModel, because of {error!r}", file=sys.stderr)
        shutil.rmtree(output, ignore_errors=True)
        return start(base.preset, base.base_dir, embeds, output)
    return None


def _write(base: BaseModel, embeds: Path, output: Path, text_encoder: TextEncoder | None = None) -> None:
    ((placeholder, rows),) = load_file(embeds).items()
    tokenizer = base.tokenizer(placeholder, len(rows))
    # A SavedModel holds float32 only; a training's weights of another type are read again.
    if text_encoder is None or base.dtype != "float32":
        text_encoder = base.text_encoder(tokenizer.vocabulary, dtype="float32")
    saved_model(output, text_encoder, rows, tokenizer.prompt_length)


def start(base_model: Preset | str, base_dir: str | Path | None, embeds: Path, output: Path) -> subprocess.Popen[str]:
    """Begin to write the SavedModel of learned vectors in a process of its own, which sees no GPU; see `finish`."""
    # -P and our own place on the module path: a folder `trainer/` of the working directory must not be run.
    command = [sys.executable, "-P", "-m", "trainer.export", "--base-model", reference(of(base_model))]
    command += ["--embeds", str(embeds), "--output", str(output), *(("--base", str(base_dir)) if base_dir else ())]
    # The caller has hashed the very same files.
    command += ["--unverified"]
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait until it is written.

    Raises:
        RuntimeError: The process failed; the message ends with the last of its error output."""
    _, words = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the SavedModel could not be written: {words.strip()[-2000:]}")


def main() -> None:
    """Write the SavedModel of a file of learned vectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", required=True, help="a preset's name, or the JSON object of an entry")
    parser.add_argument("--base", type=Path, help="folder with the base model's weights; tiny needs none")
    parser.add_argument("--embeds", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--unverified", action="store_true", help="do not hash the weights: the caller has")
    options = parser.parse_args()
    base = BaseModel(parse_reference(options.base_model), options.base, unverified=options.unverified)
    _write(base, options.embeds, options.output)


if __name__ == "__main__":
    main()
