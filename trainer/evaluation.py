"""Held-out loss of what was learned, beside that of what needs no training: what the gate judges by.

Rows are drawn in blocks until the verdict is clear (`trainer.verdict`), at most `BLOCKS` times. A block is stratified:
every picture gets the same number of rows, its timesteps spread over the part of the schedule that is judged.

Looking several times makes a verdict a little less certain: where the improvement is just what is required, 2 to 7 %
pass with a confidence of 95 % (simulated for one to four pictures; docs/log/2026-11-quality.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.data import prompts
from trainer.data.latents import Latents
from trainer.metrics import HELD_OUT, LEFT_OUT, RELEASED, Losses, LossRows
from trainer.objective import Array, Frozen, initial_vectors, read_vectors, traced_squared_errors
from trainer.recipe import DEFAULT
from trainer.sampling.noise_schedule import TIMESTEPS
from trainer.training_config import Config
from trainer.verdict import compare

VIEWS = 4
"""Random crops of each judged picture."""
PICTURES = 8
"""Most pictures that are judged, if none is held out."""
LOWEST_TIMESTEP = 300
"""Below it the prompt hardly changes the loss: on `tiny` a trained token gains 1 % there, and 16 % above."""
BLOCKS = 6
_BLOCK = 64
_ROWS_AT_ONCE = 8
Contexts = dict[str, tf.Tensor]
"""Encoded prompts, (1, L, D) each, by the name of the baseline or `_TRAINED`; (pictures, L, D) if each has its own."""
_TRAINED = "trained"


@dataclass(frozen=True)
class Released:
    """The released version: its name, and its vectors (num_vectors, D), float32."""

    name: str
    vectors: Array

    @classmethod
    def load(cls, path: Path, frozen: Frozen) -> Released:
        """Read a learned_embeds.safetensors that is named after its version, as in v3.safetensors.

        Raises:
            ConfigError: As `read_vectors`.
        """
        return cls(path.stem, read_vectors(path, "--released", frozen))


def evaluate(
    frozen: Frozen,
    judged: Latents,
    config: Config,
    learned: Array,
    *,
    on: str = HELD_OUT,
    released: Released | None = None,
    initial: Array | None = None,
) -> Losses:
    """Compute the losses of the learned vectors and of the baselines, on as many rows as the verdict needs.

    Args:
        frozen: The base model.
        judged: Latents of the pictures to judge by, `VIEWS` of each.
        config: Of the training; its seed draws the views, timesteps and noise.
        learned: Vectors (num_vectors, D), float32; or for each picture its own, (pictures, num_vectors, D).
        on: Which pictures they are, in words. Those that were trained on cannot give a verdict: one block is enough.
        released: The released version, if the base model is the same.
        initial: What the vectors started from; None for the initializer's.
    """
    contexts = encode_prompts(frozen, config, learned, released, initial)
    rng = np.random.default_rng([config.seed, 1_000_003])
    pictures = len(judged) // VIEWS
    each = max(_ROWS_AT_ONCE, min(_BLOCK // 2, _BLOCK // pictures // _ROWS_AT_ONCE * _ROWS_AT_ONCE))
    found: dict[str, Array] = {name: np.zeros((pictures, 0), "float32") for name in contexts}
    for _ in range(BLOCKS if on in (HELD_OUT, LEFT_OUT) else 1):
        for name, losses in draw_losses(frozen, judged, contexts, each, rng).items():
            found[name] = np.concatenate([found[name], losses], axis=1)
        rows = _recorded(found)
        if _outcome(rows, config) != "undecided":
            break
    before, after = (float(found[name].mean(dtype="float64")) for name in ("initializer", _TRAINED))
    return Losses(
        initializer=round(before, 6),
        trained=round(after, 6),
        improvement=round(1.0 - after / before, 4),
        on=on,
        rows=rows,
        released=released.name if released else None,
    )


def is_rejected(losses: Losses, config: Config) -> bool:
    """Tell whether the losses show that the training failed."""
    return losses.rows is not None and _outcome(losses.rows, config) == "rejected"


def _outcome(rows: LossRows, config: Config) -> str:
    return compare(rows, config.min_improvement, config.confidence)[0].outcome


def encode_prompts(
    frozen: Frozen, config: Config, learned: Array, released: Released | None = None, initial: Array | None = None
) -> Contexts:
    """Encode the evaluation's prompt with the learned vectors, and with what each baseline has in their place."""
    prompt = prompts.evaluation_prompt(config.learnable_property)
    tokenizer, encode = frozen.tokenizer, frozen.text_encoder.encode_with_placeholders
    with_token = tokenizer.rows([prompt.format(config.placeholder_token)])
    # The initializer's vectors are those of its words, unless there are more or fewer, or they were given.
    of_words = initial is None and len(tokenizer.ids(config.initializer_token)) == config.num_vectors
    initial = initial_vectors(config, frozen) if initial is None else initial
    mean = initial_vectors(config, frozen, replace(DEFAULT, initialization="mean"))
    contexts = {
        _TRAINED: tf.concat([encode(with_token, tf.constant(one)) for one in learned.reshape(-1, *initial.shape)], 0),
        "initializer": encode(with_token, tf.constant(initial)),
        "mean": encode(with_token, tf.constant(mean)),
        "empty_prompt": encode(tokenizer.rows([""]), tf.constant(initial)),
    }
    if not of_words:
        words = tokenizer.rows([prompt.format(config.initializer_token)])
        contexts["class_prompt"] = encode(words, tf.constant(initial))
    if released:
        tokens = tokenizer.with_vectors(len(released.vectors)).rows([prompt.format(config.placeholder_token)])
        contexts[RELEASED] = encode(tokens, tf.constant(released.vectors))
    return contexts


def draw_losses(
    frozen: Frozen, judged: Latents, contexts: Contexts, each: int, rng: np.random.Generator, *, masked: bool = True
) -> dict[str, Array]:
    """Draw a block of rows and compute their losses in every context: (pictures, `each`) by its name.

    They count where the masks say, if there are any: a token is judged by what it is to learn, and the ground, about
    which it knows nothing, would only add noise. With `masked` off they count everywhere.
    """
    pictures = len(judged) // VIEWS
    parts = np.stack([rng.permutation(each) + rng.random(each) for _ in range(pictures)]) / each
    timesteps = (LOWEST_TIMESTEP + parts * (TIMESTEPS - LOWEST_TIMESTEP)).astype("int32").ravel()
    views = np.arange(pictures)[:, None] * VIEWS + rng.integers(0, VIEWS, (pictures, each))
    latents = judged.sample(views.ravel(), rng)
    noise = rng.standard_normal(latents.shape, "float32")
    mask = judged.masks(views.ravel()) if masked else None
    arrays = [latents, timesteps, noise, *([] if mask is None else [mask])]
    errors = traced_squared_errors(frozen, next(iter(contexts.values())), latents, masked=mask is not None)
    found: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in contexts}
    # A few rows at a time: at full size 64 at once take 3 GB more than training does.
    for start in range(0, len(timesteps), _ROWS_AT_ONCE):
        part = [tf.constant(array[start : start + _ROWS_AT_ONCE]) for array in arrays]
        for name, context in contexts.items():
            own = context[start // each][None] if len(context) > 1 else context
            found[name].append(np.asarray(errors(tf.repeat(own, len(part[0]), axis=0), *part)))
    return {name: np.concatenate(losses).reshape(pictures, each) for name, losses in found.items()}


def _recorded(found: dict[str, Array]) -> LossRows:
    rows = {
        name: tuple(tuple(round(float(loss), 6) for loss in row) for row in losses) for name, losses in found.items()
    }
    return LossRows(trained=rows.pop(_TRAINED), baselines=rows)
