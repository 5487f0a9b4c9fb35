"""What makes a token better? One change of the recipe at a time, judged by plain and by hard prompts.

    python -m benchmarks.composition --output FOLDER      # once, about 25 minutes: the base model and the second judge
    python -m benchmarks.ablation --composition FOLDER --json

About 6 minutes a variant on 2 cores, for six concepts and three seeds. For every variant, after 20 steps and at the
end: the share of pictures drawn right for the plain prompt, beside a second object, and on another ground (see
`benchmarks.composition`); and how much lower the held-out loss is than with the initializer. A variant wins
if its hard prompts are right more often than the default's, with 95 % confidence over the pairs of concept and seed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from scipy.special import stdtrit

from benchmarks.composition import composition_judge, scenes
from benchmarks.tiny_inversion import DRAWING_SEED, Bench
from trainer import checkpoint, evaluation, train, training_config
from trainer.data import prompts
from trainer.data.latents import encode_views
from trainer.data.pictures import Picture, split_held_out
from trainer.recipe import DEFAULT
from trainer.tiny import world

IMAGES = 5
PICTURES_PER_PROMPT = 8
TOKEN = "<x>"
EARLY = 20
EVERY = 10
AVERAGED = 10


@dataclass(frozen=True)
class Variant:
    """Changes of the recipe and of concept.yaml's training settings.

    `initializer` replaces the shape's word; {colour} is another colour's word.
    """

    recipe: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    initializer: str = "{shape}"


VARIANTS: dict[str, Variant] = {
    "default": Variant(),
    "other noise": Variant(training={"noise_seed": 1000}),
    "all timesteps": Variant({"timestep_range": (0, 1000)}),
    "timesteps 300 to 1000": Variant({"timestep_range": (300, 1000)}),
    "uniform timesteps": Variant({"timesteps": "uniform"}),
    "phrase": Variant(initializer="{colour} {shape}"),
    "cross initialization": Variant({"initialization": "output"}),
    "mean of the table": Variant({"initialization": "mean"}),
    "min-SNR 5": Variant({"min_snr": 5.0}),
    "flips": Variant(training={"flips": True}),
    "learning rate / 2": Variant(training={"learning_rate": 1e-2}),
    "100 steps": Variant(training={"max_steps": 100}),
    "400 steps": Variant(training={"max_steps": 400}),
}


class Composed:
    """The base model of hard prompts, and both judges."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.judge = composition_judge.load(folder)

    def score(self, pair: scenes.Pair, words: str) -> dict[str, float]:
        """Return the shares drawn right of the kinds of prompts that say `words` for a pair."""
        shares: dict[str, list[float]] = {"plain": [], "two": [], "ground": []}
        for index, shown in enumerate(hard_prompts(pair)):
            names = tuple(words if one == pair else " ".join(one) for one in shown.pairs)
            prompt = prompts.evaluation_prompt("object").format(shown.words(names))
            pictures = self.bench.pipeline.draw(prompt, num_images=PICTURES_PER_PROMPT, seed=DRAWING_SEED + 10 * index)
            shares[shown.kind].append(composition_judge.right(self.judge, pictures, shown))
        found = {kind: round(mean(values), 4) for kind, values in shares.items()}
        return found | {"hard": round((found["two"] + found["ground"]) / 2, 4)}

    def run(self, pair: scenes.Pair, variant: Variant, seed: int) -> dict[str, Any]:
        """Train a token under a variant, and score it early and at the end."""
        colour = next(name for name in world.COLOURS if name != pair[0])
        words = {
            "placeholder_token": TOKEN,
            "initializer_token": variant.initializer.format(colour=colour, shape=pair[1]),
            "base_model": "tiny",
        }
        config = training_config.parse({**words, "training": {"seed": seed, **variant.training}})
        rng = np.random.default_rng([seed, world.PAIRS.index(pair)])
        found = [Picture(np.asarray(world.draw(*pair, rng)), "") for _ in range(IMAGES)]
        kept, held_out = split_held_out(found, config)
        preset = self.bench.base.preset
        latents = encode_views(kept, self.bench.encoder, config, preset.views, seed=1, at_once=False)
        judged = encode_views(held_out, self.bench.encoder, config, evaluation.VIEWS, seed=2)
        states: list[checkpoint.State] = []
        with tempfile.TemporaryDirectory() as folder:
            last, _ = train.train(
                latents,
                self.bench.frozen,
                config,
                Path(folder),
                lambda _line: None,
                recipe=replace(DEFAULT, **variant.recipe),
                at_checkpoint=states.append,
                checkpoint_every=EVERY,
            )
        kept_vectors = {
            "early": next(state.vectors for state in states if state.step == EARLY),
            "end": last.vectors,
            "averaged": np.asarray(np.mean([state.vectors for state in states[-AVERAGED:]], axis=0), "float32"),
            "best": states[int(np.argmin([state.evaluations[-1] for state in states]))].vectors,
        }
        row: dict[str, Any] = {"steps": last.step}
        for name, vectors in kept_vectors.items():
            self.bench.vectors.assign(vectors)
            losses = evaluation.evaluate(self.bench.frozen, judged, config, vectors)
            row[name] = self.score(pair, TOKEN) | {"improvement": losses.improvement}
        return row


def hard_prompts(pair: scenes.Pair) -> list[scenes.Composition]:
    """List what is drawn for a pair: four plain, beside four other objects (twice on their right), on three grounds."""
    rng = np.random.default_rng([7, world.PAIRS.index(pair)])
    others = [one for one in world.CAPTIONED if one[0] != pair[0] and one[1] != pair[1]]
    chosen = [others[index] for index in rng.choice(len(others), 4, replace=False)]
    grounds = [name for name in scenes.GROUNDS if name != pair[0]][:3]
    beside = [scenes.Composition((pair, one)) for one in chosen[:2]]
    beside += [scenes.Composition((one, pair)) for one in chosen[2:]]
    return [*[scenes.Composition((pair,))] * 2, *beside, *(scenes.Composition((pair,), name) for name in grounds)]


KINDS = ("plain", "two", "ground", "hard", "improvement")
WHEN = ("early", "end", "averaged", "best")


def gain(row: list[float], default: list[float]) -> dict[str, float]:
    """Return the mean of paired gains and its one-sided bounds of 95 %."""
    gains = np.subtract(row, default)
    spread = stdtrit(len(gains) - 1, 0.95) * np.std(gains, ddof=1) / np.sqrt(len(gains))
    center = float(gains.mean())
    return {"gain": round(center, 4), "lower": round(center - spread, 4), "upper": round(center + spread, 4)}


def values(rows: dict[str, dict[str, Any]], when: str, kind: str) -> list[float]:
    """Return one figure of every concept and seed."""
    return [row[when][kind] for row in rows.values()]


def summary(rows: dict[str, dict[str, Any]], default: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return means over concepts and seeds, and the gains of hard prompts over the default's at the same moment.

    "averaged" is the mean of the last ten checkpoints of ten steps each, and "best" the one with the lowest loss on
    early stopping's batch; both are compared with the default's last step.
    """
    result: dict[str, Any] = {"steps": round(mean(row["steps"] for row in rows.values()), 1)}
    for when in WHEN:
        figures = {kind: round(mean(values(rows, when, kind)), 4) for kind in KINDS}
        other = "early" if when == "early" else "end"
        result[when] = figures | gain(values(rows, when, "hard"), values(default, other, "hard"))
    return result


def main() -> None:
    """Run the variants and print one JSON object; progress goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--composition", type=Path, required=True, help="folder of `python -m benchmarks.composition`")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    options = parser.parse_args()
    composed = Composed(options.composition)
    result: dict[str, Any] = {}
    default: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(["default", *options.variants]):
        rows = {
            f"{' '.join(pair)} {seed}": composed.run(pair, VARIANTS[name], seed)
            for seed in options.seeds
            for pair in world.HELD_OUT
        }
        default = default or rows
        result[name] = summary(rows, default) | {"rows": rows}
        print(name, json.dumps(summary(rows, default)), file=sys.stderr, flush=True)
    words = {" ".join(pair): composed.score(pair, " ".join(pair)) for pair in world.HELD_OUT}
    print(json.dumps({"variants": result, "words": words}, indent=2))


if __name__ == "__main__":
    main()
