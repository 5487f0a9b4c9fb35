"""What a training step and an evaluation see: latents, noise, timesteps and prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data import prompts
from trainer.data.latents import Latents
from trainer.data.tokenizer import Tokenizer
from trainer.recipe import DEFAULT, Recipe
from trainer.sampling.noise_schedule import TIMESTEPS
from trainer.training_config import Config

Array = npt.NDArray[np.float32]
_ROWS_AT_ONCE = 8


@dataclass(frozen=True)
class Batch:
    """What one evaluation of the loss needs: latents and noise (B, H/8, W/8, 4), tokens (B, L), timesteps (B,).

    `mask` is where the loss counts, (B, H/8, W/8, 1); None for everywhere.
    """

    latents: Array
    tokens: npt.NDArray[np.int32]
    timesteps: npt.NDArray[np.int32]
    noise: Array
    mask: Array | None = None

    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays in the order of the loss's arguments; the mask only if there is one."""
        each = (self.latents, self.tokens, self.timesteps, self.noise)
        return each if self.mask is None else (*each, self.mask)

    @classmethod
    def blank(cls, latents: Latents, prompt_length: int, size: int) -> Batch:
        """Make a batch of zeros in the shapes of `size` rows, to trace a step with."""
        shape = (size, *latents.mean.shape[1:])
        tokens = np.zeros((size, prompt_length), "int32")
        mask = None if latents.mask is None else np.zeros((*shape[:-1], 1), "float32")
        return cls(np.zeros(shape, "float32"), tokens, np.zeros(size, "int32"), np.zeros(shape, "float32"), mask)


def draw_batch(
    latents: Latents, tokenizer: Tokenizer, config: Config, step: int, recipe: Recipe = DEFAULT, replicas: int = 1
) -> Batch:
    """Draw the batch of one step, `batch_size` rows for each replica; the same (noise_seed, step), the same batch."""
    rng = np.random.default_rng([config.noise_seed, step])
    size = config.batch_size * replicas
    rows = rng.integers(0, len(latents), size)
    sentences = prompts.templates(config.learnable_property, config.templates)
    texts = [
        prompts.captioned(sentences[rng.integers(len(sentences))], latents.captions[row], config.placeholder_token)
        for row in rows
    ]
    part = (rng.permutation(size) + rng.random(size)) / size if recipe.timesteps == "spread" else rng.random(size)
    clean = latents.sample(rows, rng)
    noise = rng.standard_normal(clean.shape, "float32")
    first, end = recipe.timestep_range
    timesteps = (first + part * (end - first)).astype("int32")
    return Batch(clean, tokenizer.rows(texts), timesteps, noise, latents.masks(rows))


def draw_ahead(draw: Callable[[int], Batch], first: int, end: int) -> Iterator[Batch]:
    """Draw the batches of steps `first` to `end` - 1, each in a thread while the step before runs or is traced."""
    pool = ThreadPoolExecutor(1)
    begun = pool.submit(draw, first)

    def batches(following: Future[Batch]) -> Iterator[Batch]:
        try:
            for step in range(first, end):
                batch = following.result()
                if step + 1 < end:
                    following = pool.submit(draw, step + 1)
                yield batch
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    return batches(begun)


def evaluation_batch(latents: Latents, tokenizer: Tokenizer, config: Config, size: int = 64) -> Batch:
    """Draw the fixed batch to judge by: the same latents, timesteps, noise and sentence every time."""
    rng = np.random.default_rng([config.seed, 1_000_003])
    rows = np.resize(rng.permutation(len(latents)), size)
    text = prompts.evaluation_prompt(config.learnable_property).format(config.placeholder_token)
    spread = ((np.arange(size) + 0.5) / size * TIMESTEPS).astype("int32")
    clean = latents.sample(rows, rng)
    tokens = np.repeat(tokenizer.rows([text]), size, axis=0)
    noise = rng.standard_normal(clean.shape, "float32")
    return Batch(clean, tokens, spread, noise, latents.masks(rows))
