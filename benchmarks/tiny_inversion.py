"""Does Textual Inversion really work on the `tiny` base model?

    python -m benchmarks.tiny_inversion --json

It takes about 10 minutes on 2 cores, and should find:

- captions that the pre-training has seen are drawn right (colour and shape) in at least 93 % of the pictures;
- for concepts that it never captioned, "a photo of <token>" is right in at most 20 % with the initializer, and after
  training in at least 95 % on average and 85 % for each;
- `python -m trainer`, from its start to its last file, trains a token and draws eight samples in 60 s.

The judge (benchmarks/judge) has never seen a picture that came out of a diffusion model. Concepts, initializers, seeds
and guidance were fixed before any result was looked at.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks import judge
from trainer import checkpoint, evaluation, objective, train, training_config
from trainer.base_weights.base_model import BaseModel
from trainer.base_weights.presets import PRESETS
from trainer.data import prompts, records
from trainer.data.latents import Latents, encode_views
from trainer.data.pictures import Picture, split_held_out
from trainer.metrics import METRICS_FILE, read_metrics
from trainer.models.shapes import TINY
from trainer.sampling.sampler import Pipeline
from trainer.tiny import world

CONCEPTS = tuple((colour, shape, shape) for colour, shape in world.HELD_OUT)
"""Colour, shape, and the initializer: the word that a person would take, the name of the shape."""
SEEDS = (0, 1, 2)
IMAGES = 6
PICTURES = 64
PICTURES_PER_PAIR = 8
ROWS = 64
"""Rows of the held-out loss for each held-out picture."""
DRAWING_SEED = 1000


@dataclass(frozen=True)
class Inversion:
    """One concept trained with one seed; the shares are of `PICTURES` pictures."""

    concept: str
    seed: int
    before: dict[str, float]
    after: dict[str, float]
    loss: dict[str, float]
    train_seconds: float


class Bench:
    """The base model, loaded once; other weights of its shapes from `base_dir`."""

    def __init__(self, base_dir: Path | None = None) -> None:
        self.base = BaseModel("tiny", base_dir, unverified=base_dir is not None)
        self.judge = judge.load()
        tokenizer = self.base.tokenizer("<x>")
        self.frozen = objective.Frozen(
            self.base.text_encoder(tokenizer.vocabulary), self.base.diffusion_model(64, 64), tokenizer
        )
        self.vectors = tf.Variable(tf.zeros((1, TINY.text_encoder.width)))
        self.pipeline = Pipeline(
            self.base,
            tokenizer,
            lambda tokens: self.frozen.text_encoder.encode_with_placeholders(tokens, self.vectors),
            diffusion_model=self.frozen.diffusion_model,
        )
        self.encoder = tf.function(self.base.image_encoder())

    def seen(self, named: bool) -> dict[str, float]:
        """The share of pictures drawn right for each shape, asked for by colour and shape, or by the pair's name."""
        rows: dict[str, list[float]] = {shape: [] for shape in world.SHAPES}
        for pair in world.CAPTIONED:
            phrase = world.NAMES[pair] if named else " ".join(pair)
            rows[pair[1]].append(self.score(f"a photo of {phrase}", pair, PICTURES_PER_PAIR)["both"])
        return {shape: round(mean(shares), 4) for shape, shares in rows.items()}

    def score(self, prompt: str, pair: tuple[str, str], count: int) -> dict[str, float]:
        """Draw `count` pictures of a prompt and say how many show the pair."""
        drawn = [
            self.pipeline.draw(prompt, num_images=PICTURES_PER_PAIR, seed=DRAWING_SEED + start)
            for start in range(0, count, PICTURES_PER_PAIR)
        ]
        shares = judge.right(self.judge, np.concatenate(drawn), *pair)
        return {name: round(share, 4) for name, share in shares.items()}

    def invert(
        self,
        pair: tuple[str, str],
        initializer: str,
        seed: int,
        pictures: int = PICTURES,
        max_steps: int | None = None,
    ) -> Inversion:
        """Train a token from a few fresh pictures of a pair, and score it before and after.

        Args:
            pair: Colour and shape.
            initializer: Word that the training starts from.
            seed: Of the pictures and of the training.
            pictures: How many are drawn and judged, before and after.
            max_steps: Of the training; None for the preset's.
        """
        wanted = training_config.parse(
            {
                "placeholder_token": "<x>",
                "initializer_token": initializer,
                "base_model": "tiny",
                "training": {"seed": seed, "max_steps": max_steps},
            }
        )
        rng = np.random.default_rng([seed, world.PAIRS.index(pair)])
        found = [Picture(np.asarray(world.draw(*pair, rng)), "") for _ in range(IMAGES)]
        kept, held_out = split_held_out(found, wanted)
        latents = encode_views(kept, self.encoder, wanted, self.base.preset.views, seed=1)
        judged = encode_views(held_out, self.encoder, wanted, evaluation.VIEWS, seed=2)
        prompt = prompts.evaluation_prompt("object").format("<x>")
        initial = objective.initial_vectors(wanted, self.frozen)
        self.vectors.assign(initial)
        before = self.score(prompt, pair, pictures)
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            state, _ = train.train(latents, self.frozen, wanted, Path(folder), lambda _line: None)
        seconds = time.monotonic() - started
        self.vectors.assign(state.vectors)
        after = self.score(prompt, pair, pictures)
        return Inversion(
            " ".join(pair), seed, before, after, self._losses(judged, wanted, pair, state), round(seconds, 1)
        )

    def _losses(
        self, judged: Latents, wanted: training_config.Config, pair: tuple[str, str], state: checkpoint.State
    ) -> dict[str, float]:
        """The held-out loss with the initializer, the learned token, and the true caption in its place."""
        contexts = evaluation.encode_prompts(self.frozen, wanted, state.vectors)
        text = prompts.evaluation_prompt("object").format(" ".join(pair))
        tokens = self.frozen.tokenizer.rows([text])
        contexts["true_caption"] = self.frozen.text_encoder.encode_with_placeholders(tokens, self.vectors)
        losses = evaluation.draw_losses(self.frozen, judged, contexts, ROWS, np.random.default_rng(wanted.seed))
        return {name: round(float(rows.mean()), 5) for name, rows in losses.items()}


def whole_program() -> dict[str, float]:
    """Seconds of `python -m trainer` with its defaults, imports and compiling included: in all, and by phase."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(IMAGES):
        buffer = io.BytesIO()
        world.draw(*world.HELD_OUT[0], rng).save(buffer, "PNG")
        png = buffer.getvalue()
        rows.append(records.Record(png, world.SIZE, world.SIZE, hashlib.md5(png).hexdigest(), f"{index}.png"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "records").mkdir()
        records.write(folder / "records" / records.SHARD, rows)
        (folder / "config.json").write_text(
            json.dumps({"placeholder_token": "<x>", "initializer_token": "circle", "base_model": "tiny"})
        )
        command = [sys.executable, "-m", "trainer", "--records", folder / "records", "--output", folder / "output"]
        started = time.monotonic()
        subprocess.run(
            [*map(str, command), "--config", str(folder / "config.json")], check=True, stdout=subprocess.DEVNULL
        )
        seconds = time.monotonic() - started
        metrics = read_metrics(folder / "output" / METRICS_FILE)
    phases = {name: value for name, value in metrics.seconds.items() if name != "total"}
    return {"from_start_to_end": round(seconds, 1), **phases}


def summary(inversions: Iterable[Inversion]) -> dict[str, Any]:
    """Per concept, the mean over the seeds, and the figures that the targets are about."""
    by_concept: dict[str, list[Inversion]] = {}
    for inversion in inversions:
        by_concept.setdefault(inversion.concept, []).append(inversion)
    after = {concept: round(mean(row.after["both"] for row in rows), 4) for concept, rows in by_concept.items()}
    before = {concept: round(mean(row.before["both"] for row in rows), 4) for concept, rows in by_concept.items()}
    return {
        "before": before,
        "after": after,
        "highest_before": max(before.values()),
        "mean_after": round(mean(after.values()), 4),
        "lowest_after": min(after.values()),
        "lowest_after_of_any_seed": min(row.after["both"] for rows in by_concept.values() for row in rows),
    }


def main() -> None:
    """Measure everything and print one JSON object; progress goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="seeds of the trainings")
    parser.add_argument("--initializer", help="start from this word, fitting or not, instead of each shape's own")
    parser.add_argument("--no-seen", action="store_true", help="leave out the captions that the pre-training has seen")
    options = parser.parse_args()
    program = whole_program()
    bench = Bench()
    inversions = []
    for colour, shape, initializer in CONCEPTS:
        for seed in options.seeds:
            inversions.append(bench.invert((colour, shape), options.initializer or initializer, seed))
            print(inversions[-1], file=sys.stderr, flush=True)
    preset = PRESETS["tiny"]
    result: dict[str, Any] = {
        "summary": summary(inversions),
        "program_seconds": program,
        "inversions": [vars(inversion) for inversion in inversions],
        "settings": {
            "initializer": options.initializer or "the shape's word",
            "images": IMAGES,
            "pictures": PICTURES,
            "guidance_scale": preset.guidance_scale,
            "sampling_steps": preset.sampling_steps,
            "max_steps": preset.max_steps,
            "learning_rate": preset.learning_rate,
            "batch_size": preset.batch_size,
        },
    }
    if not options.no_seen:
        captions, names = bench.seen(named=False), bench.seen(named=True)
        result["seen_captions"] = {"per_shape": captions, "mean": round(mean(captions.values()), 4)}
        result["seen_names"] = {"per_shape": names, "mean": round(mean(names.values()), 4)}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
