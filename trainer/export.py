"""Write what was learned: a SavedModel for TensorFlow, and a safetensors file for everybody else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from safetensors.numpy import save_file

from trainer import models

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

    def __init__(self, text_encoder: keras.Model, rows: npt.NDArray[np.float32], length: int) -> None:
        super().__init__(name="text_encoder")
        self.frozen = text_encoder
        self.rows = tf.Variable(rows, name=_ROWS, trainable=False)
        spec = [tf.TensorSpec((None, length), tf.int32, name) for name in ("tokens", "positions")]
        self.encode = tf.function(self._encode, input_signature=spec)

    def _encode(self, tokens: Any, positions: Any) -> Any:
        return models.splice(self.frozen, tokens, self.rows, positions)


def saved_model(path: Path, text_encoder: keras.Model, rows: npt.NDArray[np.float32], length: int) -> None:
    """Write a SavedModel: tokens and positions, (B, length) int32 each, to the context, (B, length, D) float32.

    Ids from the vocabulary's size on are the new rows. The function is there as `encode` and as the signature
    `serving_default` with the output `context`.
    """
    module = _Encoder(text_encoder, rows, length)

    @tf.function(input_signature=module.encode.input_signature)  # type: ignore[untyped-decorator,unused-ignore]
    def serving(tokens: Any, positions: Any) -> dict[str, Any]:
        return {"context": module.encode(tokens, positions)}

    options = tf.saved_model.SaveOptions(experimental_sharding_callback=_OwnShard())
    tf.saved_model.save(module, str(path), signatures={"serving_default": serving}, options=options)


def learned_embeds(path: Path, placeholder: str, rows: npt.NDArray[np.float32]) -> None:
    """Write the vectors, (num_vectors, D) float32, keyed by the placeholder token, as diffusers and web UIs load it."""
    save_file({placeholder: np.ascontiguousarray(rows, "float32")}, str(path), metadata={"format": "pt"})
