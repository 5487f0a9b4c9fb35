"""What of the recipe makes a token good sooner? One change at a time, on `tiny`, for concepts far from the initializer.

    python -m benchmarks.ablation --json

About 20 minutes on 2 cores. For every variant: the share of pictures drawn right (colour and shape) after 5, 10, 20, 30
and 50 steps of the default schedule, since later all are right, their mean (the area under that curve), and how much
lower the held-out loss is than with the initializer at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.tiny_inversion import Bench
from trainer import checkpoint, evaluation, objective, train, training_config
from trainer.data import prompts
from trainer.data.latents import encode_views
from trainer.data.pictures import Picture, split_held_out
from trainer.recipe import DEFAULT
from trainer.tiny import world

CONCEPTS = (("teal", "crescent"), ("purple", "cross"), ("red", "heart"))
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}),
    "learning rate / 4": ({}, {"learning_rate": 5e-3}),
    "learning rate * 2": ({}, {"learning_rate": 4e-2}),
    "learning rate * 4": ({}, {"learning_rate": 8e-2}),
    "constant learning rate": ({"schedule": "constant"}, {}),
    "uniform timesteps": ({"timesteps": "uniform"}, {}),
    "min-SNR 5": ({"min_snr": 5.0}, {}),
    "cross initialization": ({"initialization": "output"}, {}),
    "mean of the table": ({"initialization": "mean"}, {}),
    "no fallback to the mean": ({"fallback": False}, {}),
    "Adam betas .9 .999": ({"betas": (0.9, 0.999)}, {}),
    "batch 4": ({}, {"batch_size": 4}),
    "batch 16": ({}, {"batch_size": 16}),
}
AT = (5, 10, 20, 30, 50)
PICTURES = 32


def run(bench: Bench, pair: tuple[str, str], variant: str, seed: int, initializer: str) -> dict[str, Any]:
    """Train one concept under one variant, scoring at every checkpoint."""
    recipe, training = VARIANTS[variant]
    wanted = training_config.parse(
        {
            "placeholder_token": "<x>",
            "initializer_token": initializer,
            "base_model": "tiny",
            "training": {"seed": seed, "early_stopping": False, **training},
        }
    )
    rng = np.random.default_rng([seed, world.PAIRS.index(pair)])
    found = [Picture(np.asarray(world.draw(*pair, rng)), "") for _ in range(6)]
    kept, held_out = split_held_out(found, wanted)
    latents = encode_views(kept, bench.encoder, wanted, bench.base.preset.views, seed=1)
    judged = encode_views(held_out, bench.encoder, wanted, evaluation.VIEWS, seed=2)
    prompt = prompts.evaluation_prompt("object").format("<x>")
    right: list[float] = []
    last = objective.initial_vectors(wanted, bench.frozen)

    def score(state: checkpoint.State) -> None:
        nonlocal last
        if state.step in AT:
            last = state.vectors
            bench.vectors.assign(last)
            right.append(bench.score(prompt, pair, PICTURES)["both"])

    with tempfile.TemporaryDirectory() as folder, suppress(train.Interrupted):
        train.train(
            latents,
            bench.frozen,
            wanted,
            Path(folder),
            lambda _line: None,
            lambda: len(right) == len(AT),
            recipe=replace(DEFAULT, **recipe),
            at_checkpoint=score,
            checkpoint_every=5,
        )
    return {"right": right, "improvement": evaluation.evaluate(bench.frozen, judged, wanted, last).improvement}


def main() -> None:
    """Run the variants and print one JSON object; progress goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--initializer", help="start from this word, fitting or not, instead of each shape's own")
    options = parser.parse_args()
    bench = Bench()
    result: dict[str, Any] = {}
    for variant in options.variants:
        rows = {
            f"{colour} {shape} {seed}": run(bench, (colour, shape), variant, seed, options.initializer or shape)
            for seed in options.seeds
            for colour, shape in CONCEPTS
        }
        curve = [round(mean(values), 3) for values in zip(*(row["right"] for row in rows.values()), strict=True)]
        result[variant] = {
            "right": curve,
            "mean": round(mean(curve), 3),
            "improvement": round(mean(row["improvement"] for row in rows.values()), 4),
            "concepts": rows,
        }
        print(
            variant,
            {key: result[variant][key] for key in ("right", "mean", "improvement")},
            file=sys.stderr,
            flush=True,
        )
    settings = {"at": AT, "pictures": PICTURES, "seeds": options.seeds, "initializer": options.initializer}
    print(json.dumps({"variants": result, "settings": settings}, indent=2))


if __name__ == "__main__":
    main()
