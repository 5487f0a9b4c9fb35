"""How long until a token is as good as the Keras tutorial makes it, on `tiny`?

    python -m benchmarks.time_to_quality --json

The tutorial's recipe (benchmarks/peers/keras_tutorial.py says what the port changes) gets its full schedule of 12,500
steps, first at its own learning rate, then at others. Quality is the share of 64 pictures of "a photo of <token>" in
which the judge sees the right colour and shape. The tutorial's last accuracy is the target; the clock runs while
something is encoded, traced, compiled or trained, and stands while pictures are drawn and judged. A third less time
than the whole schedule would not count: the ratios are also given to the moment when the tutorial FIRST was as good as
it ended, and in seconds of the processor. At least 15 times less is wanted, 40 hoped for.

Six minutes for each concept and rate on a quiet machine; `--keep FOLDER` keeps what is finished, so that it can be had
in pieces, and `--steps` shortens the schedule.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import geometric_mean
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The faster choice on this side; the tutorial's step is compiled by XLA, to which it makes no difference.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import numpy as np
import tensorflow as tf

from benchmarks import judge
from benchmarks.peers import keras_tutorial
from trainer import checkpoint, objective, train, training_config
from trainer.base_weights.base_model import BaseModel
from trainer.base_weights.presets import PRESETS
from trainer.data import prompts
from trainer.data.latents import compile_encoder, encode_views
from trainer.data.pictures import Picture, split_held_out
from trainer.models.layers import on_gpu
from trainer.models.shapes import TINY
from trainer.sampling.sampler import Pipeline
from trainer.tiny import world

CONCEPTS = ("teal crescent", "purple cross", "red heart")
RATES = (1e-4, 1e-3, 5e-3)
IMAGES = 6
PICTURES = 64
EVERY = 500
OURS_AT = (5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 300, 400)
Point = dict[str, float]


class Clock:
    """Seconds of wall time and of the processor, but for those of `paused` blocks."""

    def __init__(self) -> None:
        self._away = [0.0, 0.0]
        self._begun = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Both, since the clock was made."""
        numbers = (now - begun - away for now, begun, away in zip(self._now(), self._begun, self._away, strict=True))
        return dict(zip(("seconds", "cpu"), (round(number, 2) for number in numbers), strict=True))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it stand."""
        before = self._now()
        yield
        self._away = [away + now - then for away, now, then in zip(self._away, self._now(), before, strict=True)]


class Contest:
    """One concept: its pictures, the same for all, and how well a token draws it."""

    def __init__(self, concept: str) -> None:
        colour, shape = concept.split()
        self.pair = (colour, shape)
        self.base = BaseModel("tiny")
        self.tokenizer = self.base.tokenizer("<x>")
        self._judge = judge.load()
        self.unet = self.base.diffusion_model(world.SIZE, world.SIZE)
        rng = np.random.default_rng([0, world.PAIRS.index(self.pair)])
        self.pictures = [Picture(np.asarray(world.draw(*self.pair, rng)), "") for _ in range(IMAGES)]

    def scorer(self, encode: Callable[[Any], Any]) -> Callable[[], float]:
        """A function that draws with `encode` as text encoder and gives the share of right pictures."""
        pipeline = Pipeline(self.base, self.tokenizer, encode, diffusion_model=self.unet)
        prompt = prompts.evaluation_prompt("object").format("<x>")

        def score() -> float:
            # A table that decays moves the context of the empty prompt, too.
            pipeline._contexts.clear()
            drawn = [pipeline.draw(prompt, num_images=16, seed=1000 + start) for start in range(0, PICTURES, 16)]
            return judge.right(self._judge, np.concatenate(drawn), *self.pair)["both"]

        return score

    def tutorial(self, rate: float, steps: int, every: int) -> list[Point]:
        """The tutorial's whole schedule, scored now and then."""
        clock = Clock()
        with clock.paused():
            peer = keras_tutorial.Tutorial(self.pictures, self.pair[1], rate, steps, compile=True)
            score = self.scorer(peer.context)
            points: list[Point] = [{"step": 0, **clock.read(), "right": score()}]
        for step in range(1, steps + 1):
            peer.step()
            if step % every == 0 or step == steps:
                with clock.paused():
                    points.append({"step": step, **clock.read(), "right": score()})
                    told("tutorial", rate, points[-1])
        return points

    def ours(self, seed: int = 0) -> list[Point]:
        """`trainer.train` with its defaults, scored more often than it saves."""
        words = {"placeholder_token": "<x>", "initializer_token": self.pair[1], "base_model": "tiny"}
        wanted = training_config.parse({**words, "training": {"seed": seed}})
        vectors = tf.Variable(tf.zeros((1, TINY.text_encoder.width)))
        clock = Clock()
        with clock.paused():
            text_encoder = self.base.text_encoder(self.tokenizer.vocabulary)
            score = self.scorer(lambda tokens: text_encoder.encode_with_placeholders(tokens, vectors))
            frozen = objective.Frozen(text_encoder, self.unet, self.tokenizer)
            vectors.assign(objective.initial_vectors(wanted, frozen))
            points: list[Point] = [{"step": 0, **clock.read(), "right": score()}]
        kept, _ = split_held_out(self.pictures, wanted)
        encoder = compile_encoder(self.base.image_encoder())
        latents = encode_views(kept, encoder, wanted, self.base.preset.views, seed=1, at_once=on_gpu())

        def look(state: checkpoint.State) -> None:
            if state.step in OURS_AT:
                with clock.paused():
                    vectors.assign(state.vectors)
                    points.append({"step": state.step, **clock.read(), "right": score()})
                    told("ours", wanted.learning_rate, points[-1])

        with tempfile.TemporaryDirectory() as folder:
            train.train(
                latents, frozen, wanted, Path(folder), lambda _line: None, at_checkpoint=look, checkpoint_every=5
            )
        return points


def told(who: str, rate: float, point: Point) -> None:
    """Progress, to stderr."""
    print(who, rate, point, file=sys.stderr, flush=True)


def first(points: list[Point], target: float) -> Point | None:
    """The first point that is as good as `target`; that of the start does not count."""
    return next((point for point in points[1:] if point["right"] >= target), None)


def compare(ours: list[Point], theirs: list[Point]) -> dict[str, Any]:
    """How many times longer the tutorial took to its last accuracy."""
    target = theirs[-1]["right"]
    reached, theirs_first = first(ours, target), first(theirs, target)
    ratios = {}
    if reached and theirs_first:
        for unit in ("seconds", "cpu"):
            ratios[f"whole_schedule_{unit}"] = round(theirs[-1][unit] / reached[unit], 1)
            ratios[f"first_reached_{unit}"] = round(theirs_first[unit] / reached[unit], 1)
    return {"target": target, "ours": reached, "tutorial_first": theirs_first, "ratios": ratios}


def main() -> None:
    """Run all contestants on all concepts and print one JSON object; progress goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--concepts", nargs="*", default=list(CONCEPTS), help='of trainer.tiny.world, "teal crescent"')
    parser.add_argument("--rates", type=float, nargs="*", default=list(RATES), help="learning rates of the tutorial")
    parser.add_argument("--steps", type=int, default=keras_tutorial.STEPS, help="of the tutorial's schedule")
    parser.add_argument("--every", type=int, default=EVERY, help="steps between two scores of the tutorial")
    parser.add_argument("--keep", type=Path, help="folder of finished curves, which are not measured again")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for concept in options.concepts:
        contest = Contest(concept)
        ours = kept(options.keep, f"{concept} ours", contest.ours)
        row: dict[str, Any] = {"curves": {"ours": ours}, "against": {}}
        for rate in options.rates:
            measure = partial(contest.tutorial, rate, options.steps, options.every)
            theirs = kept(options.keep, f"{concept} {rate:g} {options.steps}", measure)
            row["curves"][f"tutorial {rate:g}"] = theirs
            row["against"][f"{rate:g}"] = compare(ours, theirs)
        results[concept] = row
    print(json.dumps(summary(results, options), indent=2))


def kept(folder: Path | None, name: str, measure: Callable[[], list[Point]]) -> list[Point]:
    """A curve from the folder of finished ones, or measured now and put there."""
    path = folder / f"{name}.json" if folder else None
    if path and path.is_file():
        found: list[Point] = json.loads(path.read_text())
        return found
    points = measure()
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(points))
    return points


def summary(results: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """All figures, and the geometric mean of each ratio over the concepts, per learning rate of the tutorial."""
    ratios: dict[str, Any] = {}
    for rate in (f"{rate:g}" for rate in options.rates):
        rows = [row["against"][rate]["ratios"] for row in results.values()]
        names = sorted(set().union(*rows))
        ratios[rate] = {name: round(geometric_mean(row[name] for row in rows if name in row), 1) for name in names}
        ratios[rate]["target"] = [row["against"][rate]["target"] for row in results.values()]
    preset = PRESETS["tiny"]
    ours = {name: getattr(preset, name) for name in ("max_steps", "learning_rate", "batch_size", "views")}
    return {
        "ratios": ratios,
        "concepts": results,
        "settings": {
            "ours": ours,
            "tutorial": {"steps": options.steps, "batch_size": 1, "weight_decay": 0.004, "rates": options.rates},
            "images": IMAGES,
            "pictures": PICTURES,
            "scored_every": options.every,
            "cores": os.cpu_count(),
        },
        "versions": {name: version(name) for name in ("tensorflow", "keras", "keras-cv")},
    }


if __name__ == "__main__":
    main()
