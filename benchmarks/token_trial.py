"""One token of `tiny`, trained from pictures that a benchmark makes, and what comes of it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import judge
from benchmarks.tiny_inversion import DRAWING_SEED, PICTURES_PER_PAIR, Bench
from trainer import evaluation, objective, train, training_config
from trainer.data import prompts
from trainer.data.latents import Latents
from trainer.tiny import world
from trainer.training_config import Config

TOKEN = "<x>"
Pixels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Figures:
    """Of one token: by which share the held-out loss is lower than before, and the share of pictures drawn right."""

    improvement: float
    right: float


def config_of(initializer: str, seed: int, *, mask: str | None = None, max_steps: int | None = None) -> Config:
    """Return a training of `tiny` with its defaults."""
    training = {"seed": seed, "mask": mask, "max_steps": max_steps}
    words = {"placeholder_token": TOKEN, "initializer_token": initializer, "base_model": "tiny"}
    return training_config.parse({**words, "training": training})


def learn(frozen: objective.Frozen, latents: Latents, config: Config) -> Vectors:
    """Train a token and return its vectors."""
    with tempfile.TemporaryDirectory() as folder:
        state, _ = train.train(latents, frozen, config, Path(folder), lambda _line: None)
    return state.vectors


def drawn(bench: Bench, vectors: Vectors, count: int, prompt: str | None = None) -> Pixels:
    """Draw pictures of the token, uint8 (count, 64, 64, 3), with the plain prompt if no other one is given."""
    bench.vectors.assign(vectors)
    text = prompt or prompts.evaluation_prompt("object").format(TOKEN)
    parts = [
        bench.pipeline.draw(text, num_images=PICTURES_PER_PAIR, seed=DRAWING_SEED + start)
        for start in range(0, count, PICTURES_PER_PAIR)
    ]
    return np.concatenate(parts)


def figures(
    bench: Bench, pair: tuple[str, str], *, judged: Latents, config: Config, vectors: Vectors, pictures: Pixels
) -> Figures:
    """Judge vectors by held-out pictures, and by pictures that were drawn with them."""
    losses = evaluation.evaluate(bench.frozen, judged, config, vectors)
    right = judge.right(bench.judge, pictures, *pair)["both"]
    return Figures(losses.improvement or 0.0, round(right, 4))


def fresh(pair: tuple[str, str], seed: int, count: int) -> list[world.Scene]:
    """Return scenes of a pair that depend on the seed only."""
    rng = np.random.default_rng([seed, world.PAIRS.index(pair)])
    return [world.scene(*pair, rng) for _ in range(count)]
