"""Does the gate pass what was learned, and nothing else?

    python -m benchmarks.gate --json

About 45 minutes on 2 cores, on `tiny`, for the six concepts that its pre-training never captioned, with five pictures
of each (`--images`). Fixed before any result was looked at, each figure a share of verdicts:

- of vectors that nobody trained, at most 1 % pass: the initializer's row with noise of 2, 10 and 50 % of its length,
  the mean of all words, another concept's token, a training of one step, and one of 20 steps at a rate of 1e-9;
- of trainings with the defaults at least 95 % pass. Of those that pass, the judge finds at least 90 % drawn right (in
  over half of the pictures); of those that it finds wrong, at most 2 % pass;
- the same token gets the same verdict from at least 95 % of 20 seeds of the gate's noise, and with five pictures at
  most 10 % are undecided;
- the evaluation takes at most 15 % of the training's steps, and on average at most 64 rows more than the 64 of before.

Pictures, held-out split, noise and the training are drawn anew by every draw's seed. Verdicts are those of
`conceptry.gate.judge` with the defaults of concept.yaml, on what `trainer.evaluation` measures. Trainings of ten and
twenty steps are reported besides: some of their tokens are drawn right and some are not. So is a second training of
the same pictures with other noise, judged against the first as the released version.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.tiny_inversion import CONCEPTS, Bench
from conceptry.concept import GateSpec
from conceptry.gate import judge, thresholds
from tasks.base_models import base_model
from trainer import evaluation, objective, train, training_config
from trainer.cross_fit import cross_fit, groups_to_leave_out
from trainer.data import prompts
from trainer.data.latents import Latents, encode_views
from trainer.data.pictures import Picture, split_held_out
from trainer.metrics import HELD_OUT, LEFT_OUT, TrainingMetrics
from trainer.objective import Array
from trainer.recipe import DEFAULT
from trainer.tiny import world
from trainer.verdict import compare

IMAGES = 5
DRAWS = 20
SEEDS = (0, 1, 2)
PICTURES = 32
NOISE = (0.02, 0.1, 0.5)
GUIDED_RIGHT = 0.5
"""A token whose pictures are right less often than this was not learned."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class World:
    """Fresh pictures of a concept, split as the trainer splits them."""

    pair: Pair
    config: training_config.Config
    training: Latents
    judged: Latents
    on: str
    left_out: tuple[int, ...] = ()
    """Groups of pictures that are left out in turn, where none is held out."""


@dataclass(frozen=True)
class Judged:
    """A verdict, the improvement over the baseline that was hardest to beat, and the rows and seconds that it took."""

    verdict: str
    reason: str
    baseline: str
    improvement: float
    lower: float
    rows: int
    seconds: float


class Gate:
    """The gate's verdicts on tokens of one base model."""

    def __init__(self, bench: Bench, images: int = IMAGES) -> None:
        self.bench, self.images = bench, images

    def world(self, pair: Pair, seed: int, **training: object) -> World:
        """Draw the pictures of a concept and encode them."""
        words = {"placeholder_token": "<x>", "initializer_token": pair[1], "base_model": "tiny"}
        config = training_config.parse({**words, "training": {"seed": seed, **training}})
        rng = np.random.default_rng([seed, world.PAIRS.index(pair)])
        kept, held_out = split_held_out(
            [Picture(np.asarray(world.draw(*pair, rng)), "") for _ in range(self.images)], config
        )
        encoder = self.bench.encoder
        latents = encode_views(kept, encoder, config, self.bench.base.preset.views, seed=1, at_once=False)
        judged = encode_views(held_out or kept, encoder, config, evaluation.VIEWS, seed=2)
        if held_out:
            return World(pair, config, latents, judged, HELD_OUT)
        groups = tuple(groups_to_leave_out(kept, config) or ())
        return World(pair, config, latents, judged, LEFT_OUT if groups else "training images", groups)

    def learn(self, drawn: World, noise_seed: int | None = None) -> Array:
        """Train the token of a world; `noise_seed` draws other training noise, as a scheduled retraining does."""
        config = drawn.config if noise_seed is None else replace(drawn.config, noise_seed=noise_seed)
        with tempfile.TemporaryDirectory() as folder:
            state, _ = train.train(drawn.training, self.bench.frozen, config, Path(folder), lambda _line: None)
        return state.vectors

    def judge(
        self, drawn: World, vectors: Array, noise_seed: int | None = None, released: Array | None = None
    ) -> Judged:
        """Judge vectors as a training's are judged; `noise_seed` draws other noise, timesteps and views."""
        config = drawn.config if noise_seed is None else replace(drawn.config, seed=noise_seed)
        if drawn.left_out:
            with tempfile.TemporaryDirectory() as folder:
                vectors = cross_fit(drawn.left_out, drawn.training, self.bench.frozen, config, Path(folder))
        beaten = None if released is None else evaluation.Released("v1", released)
        started = time.monotonic()
        losses = evaluation.evaluate(self.bench.frozen, drawn.judged, config, vectors, on=drawn.on, released=beaten)
        seconds = time.monotonic() - started
        result = judge(TrainingMetrics(loss=losses), thresholds(GateSpec(), base_model("tiny")))
        assert losses.rows is not None
        hardest = compare(losses.rows, config.min_improvement, config.confidence)[0]
        return Judged(
            result.verdict,
            result.findings[0].reason,
            hardest.baseline,
            round(hardest.bound.improvement, 4),
            round(hardest.bound.lower, 4),
            losses.rows.count,
            round(seconds, 2),
        )

    def right(self, pair: Pair, vectors: Array) -> float:
        """Return the share of pictures that the judge finds right in colour and shape."""
        self.bench.vectors.assign(vectors)
        prompt = prompts.evaluation_prompt("object").format("<x>")
        return self.bench.score(prompt, pair, PICTURES)["both"]


def untrained(gate: Gate, others: dict[Pair, Array]) -> Iterator[tuple[str, Callable[[Pair, int], Judged]]]:
    """Yield each kind of vectors that no training made, with what judges one draw of it."""

    def plain(make: Callable[[World, np.random.Generator], Array]) -> Callable[[Pair, int], Judged]:
        def draw(pair: Pair, seed: int) -> Judged:
            drawn = gate.world(pair, seed)
            return gate.judge(drawn, make(drawn, np.random.default_rng([seed, 17])))

        return draw

    def noisy(share: float) -> Callable[[World, np.random.Generator], Array]:
        def make(drawn: World, rng: np.random.Generator) -> Array:
            row = objective.initial_vectors(drawn.config, gate.bench.frozen)
            direction = rng.standard_normal(row.shape).astype("float32")
            return np.asarray(row + share * np.linalg.norm(row) * direction / np.linalg.norm(direction), "float32")

        return make

    def mean_of_words(drawn: World, _: np.random.Generator) -> Array:
        return objective.initial_vectors(drawn.config, gate.bench.frozen, replace(DEFAULT, initialization="mean"))

    def briefly(**training: object) -> Callable[[Pair, int], Judged]:
        def draw(pair: Pair, seed: int) -> Judged:
            drawn = gate.world(pair, seed, **training)
            return gate.judge(drawn, gate.learn(drawn))

        return draw

    for share in NOISE:
        yield f"initializer with {share:.0%} of noise", plain(noisy(share))
    yield "mean of all words", plain(mean_of_words)
    yield "another concept's token", plain(lambda drawn, _: others[drawn.pair])
    yield "one step", briefly(max_steps=1)
    yield "20 steps at a rate of 1e-9", briefly(max_steps=20, learning_rate=1e-9)


def half_trained(gate: Gate, pairs: list[Pair]) -> Iterator[dict[str, Any]]:
    """Yield tokens of trainings that were too short, with their verdict and whether they are drawn right."""
    for steps in (10, 20, 40):
        for pair in pairs:
            for seed in (200, 201):
                drawn = gate.world(pair, seed, max_steps=steps)
                vectors = gate.learn(drawn)
                row = {"steps": steps, "concept": " ".join(pair), "right": gate.right(pair, vectors)}
                yield row | asdict(gate.judge(drawn, vectors))


def main() -> None:
    """Measure everything and print one JSON object; progress goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--concepts", type=int, default=len(CONCEPTS), help="how many of the six, 2 at least")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="seeds of the trainings with the defaults")
    parser.add_argument("--draws", type=int, default=DRAWS, help="draws of each kind, and seeds of the gate's noise")
    parser.add_argument("--images", type=int, default=IMAGES, help="pictures of a concept")
    parser.add_argument("--trained-only", action="store_true", help="only the trainings with the defaults")
    options = parser.parse_args()
    started = time.monotonic()
    gate = Gate(Bench(), options.images)
    pairs = [(colour, shape) for colour, shape, _ in CONCEPTS[: options.concepts]]

    trained, tokens = [], {}
    for pair in pairs:
        for seed in options.seeds:
            drawn = gate.world(pair, seed)
            began = time.monotonic()
            tokens[pair] = vectors = gate.learn(drawn)
            training_seconds = round(time.monotonic() - began, 1)
            judged = gate.judge(drawn, vectors)
            again = gate.judge(drawn, gate.learn(drawn, noise_seed=77 + seed), released=vectors)
            over_noise = Counter(gate.judge(drawn, vectors, seed).verdict for seed in range(options.draws))
            row = {
                "concept": " ".join(pair),
                "seed": seed,
                **asdict(judged),
                "right": gate.right(pair, vectors),
                "over_noise": dict(over_noise),
                "training_seconds": training_seconds,
                "retraining": [again.verdict, again.reason, again.improvement, again.lower, again.rows],
            }
            trained.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)

    others = {pair: tokens[pairs[index - 1]] for index, pair in enumerate(pairs)}
    nothing: dict[str, dict[str, Any]] = {}
    for kind, draw in () if options.trained_only else untrained(gate, others):
        draws = [draw(pair, 100 + seed) for pair in pairs for seed in range(options.draws)]
        improvements = sorted(one.improvement for one in draws)
        nothing[kind] = {
            "verdicts": dict(Counter(one.verdict for one in draws)),
            "improvement": {"median": median(improvements), "highest": improvements[-1]},
            "rows": mean(one.rows for one in draws),
        }
        print(json.dumps({kind: nothing[kind]}), file=sys.stderr, flush=True)
    halfway = [] if options.trained_only else list(half_trained(gate, pairs))
    minutes = round((time.monotonic() - started) / 60, 1)
    print(json.dumps(summary(trained, nothing, halfway) | {"minutes": minutes}, indent=2))


def summary(
    trained: list[dict[str, Any]], nothing: dict[str, dict[str, Any]], halfway: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the figures that the thresholds are about, and the rows behind them."""

    def share(rows: list[bool]) -> float | None:
        return round(mean(rows), 4) if rows else None

    passed = [row for row in trained if row["verdict"] == "passed"]
    wrong = [row for row in trained if row["right"] < GUIDED_RIGHT]
    seconds = [row["seconds"] / row["training_seconds"] for row in trained]
    agreement = [max(row["over_noise"].values()) / sum(row["over_noise"].values()) for row in trained]
    verdicts: Counter[str] = sum((Counter(row["verdicts"]) for row in nothing.values()), Counter())
    return {
        "untrained_passed": round(verdicts["passed"] / verdicts.total(), 4) if verdicts else None,
        "untrained": nothing,
        "trained_passed": share([row["verdict"] == "passed" for row in trained]),
        "right_of_passed": share([row["right"] >= GUIDED_RIGHT for row in passed]),
        "passed_of_wrong": share([row["verdict"] == "passed" for row in wrong]),
        "same_verdict_over_noise": round(mean(agreement), 4),
        "undecided": share([row["verdict"] == "undecided" for row in trained]),
        "rows": {"mean": mean(row["rows"] for row in trained), "most": max(row["rows"] for row in trained)},
        "seconds_of_training": {"mean": round(mean(seconds), 4), "most": round(max(seconds), 4)},
        "half_trained": halfway,
        "trained": trained,
    }


if __name__ == "__main__":
    main()
