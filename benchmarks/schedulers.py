"""Do our solvers give the latents that diffusers' schedulers give, after every step?

    python -m benchmarks.schedulers --peers PYTHON --json

PYTHON belongs to an environment with torch, diffusers and transformers. Each solver draws with a formula in place of
the UNet at five numbers of steps, for both kinds of prediction, with guidance and without, and with the small random
UNets of benchmarks.checkpoints at five steps. The schedulers have the settings of Stable Diffusion's
scheduler_config.json. `relative` is the largest difference after any step, divided by the largest value after that
step, in float32. The formula is a smooth one: where the next step depends more on the latents than they themselves
change, rounding grows with every step. Two minutes.

`--record` keeps some of diffusers' latents for tests/trainer/test_schedulers.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from benchmarks.checkpoints import KINDS, load, write
from trainer.base_weights.sd_checkpoint import open_checkpoint
from trainer.models.unet import DiffusionModel
from trainer.sampling.denoise_loop import denoise_steps
from trainer.sampling.solver import SOLVERS, Solver, table

Array = npt.NDArray[np.float32]
GUIDANCE, LOW_GUIDANCE = 7.5, 3.0
"""The second for random UNets, which differ more between two contexts than trained ones do: 3.6e-6 of their own
difference, times 7.5, would be the larger part of what is compared."""
EVERY = 4
"""Of the small UNets' latents each fourth row and column is recorded."""
_PREDICTION = {"sd1": "epsilon", "sd2": "v"}
_SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "formula": {"latents": (1, 2, 2, 4), "contexts": (2, 1, 1, 1)},
    "sd1": {"latents": (1, 16, 16, 4), "contexts": (2, 77, 128)},
    "sd2": {"latents": (1, 16, 16, 4), "contexts": (2, 77, 128)},
}
"""Of what each model draws; contexts are those of no prompt and of a prompt. The peer repeats no context."""


@dataclass(frozen=True)
class Drawing:
    """One drawing; `model` is "formula" or the kind of a small random checkpoint, `scale` 1 where nothing guides."""

    model: str
    solver: Solver
    steps: int
    prediction: str
    scale: float


DRAWINGS = (
    *(
        Drawing("formula", *told)
        for told in product(SOLVERS, (1, 2, 7, 20, 50), ("epsilon", "v"), (1.0, GUIDANCE))
    ),
    *(Drawing(kind, solver, 5, _PREDICTION[kind], LOW_GUIDANCE) for kind in KINDS for solver in SOLVERS),
)  # fmt: skip


class Formula:
    """A function of latents, timestep and context in place of a UNet."""

    def __init__(self, prediction: str) -> None:
        self.prediction, self.shape = prediction, self
        self.timestep_width = 8

    def __call__(self, inputs: list[Any]) -> Any:
        """Compute it of latents (B, h, w, 4), timesteps' embedding (B, 8), and one context (B, 1, 1, 1)."""
        x, embedded, (context,) = inputs
        slow, slower = embedded[:, 2, None, None, None], embedded[:, 3, None, None, None]
        return 0.8 * tf.tanh(x + 0.5 * slow) + 0.05 * context * tf.cos(0.5 * x + slower)

    def cross_attention_kv(self, contexts: Any) -> list[Any]:
        """Return the contexts as they are."""
        return [contexts]


def inputs_of(model: str) -> tuple[Array, Array]:
    """Draw the noise and the contexts that a model starts from, as the peer does."""
    return _noise(_SHAPES[model]["latents"]), _noise(_SHAPES[model]["contexts"])


def _noise(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).standard_normal(shape, "float32")


def draw(unet: Any, drawing: Drawing, steps: Any) -> Array:
    """Draw with our solver; returns the latents after each step, (steps, B, h, w, 4).

    Args:
        unet: A UNet, or what stands in its place.
        drawing: What to draw.
        steps: `denoise_steps` of the UNet.
    """
    noise, contexts = inputs_of(drawing.model)
    guided = drawing.scale != 1
    key_values = unet.cross_attention_kv(tf.constant(contexts if guided else contexts[1:]))
    latents, before = tf.constant(noise), tf.zeros_like(noise)
    after = []
    for row in table(drawing.solver, drawing.steps):
        latents, before = steps(latents, before, tf.constant(row[None]), key_values, tf.constant(drawing.scale))
        after.append(np.asarray(latents))
    return np.stack(after)


def difference(ours: Array, theirs: Array) -> float:
    """Return the largest difference after any step, relative to the largest value after that step."""
    axes = tuple(range(1, theirs.ndim))
    return float((np.abs(ours - theirs).max(axis=axes) / np.abs(theirs).max(axis=axes)).max())


def unet_of(folder: Path) -> DiffusionModel:
    """Load the UNet of a checkpoint in float32."""
    checkpoint = open_checkpoint(folder)
    made: DiffusionModel = load(
        checkpoint, "diffusion_model",
        lambda read: DiffusionModel(checkpoint.shapes.unet, read, prediction=_PREDICTION[checkpoint.kind]),
    )  # fmt: skip
    return made


def ask(peers: str, folder: Path) -> dict[str, Array]:
    """Have diffusers write a small checkpoint of each kind and draw everything; returns latents by drawing's place."""
    for kind in KINDS:
        (folder / kind).mkdir()
        write(peers, folder / kind, kind)
    request, drawn = folder / "request.json", folder / "drawn.safetensors"
    request.write_text(json.dumps({"drawings": [asdict(one) for one in DRAWINGS], "shapes": _SHAPES}))
    script = Path(__file__).parent / "peers" / "diffusers_schedulers.py"
    unets = [f"{kind}={folder / kind / 'diffusers' / 'unet'}" for kind in KINDS]
    subprocess.run([peers, str(script), str(request), str(drawn), *unets], check=True, stdout=subprocess.DEVNULL)
    return dict(load_file(drawn))


def compare(
    unets: dict[str, Any],
    theirs: dict[str, Array],
    *,
    models: Sequence[str] = tuple(_SHAPES),
    most_steps: int = 1000,
    every: int = 1,
) -> Iterator[dict[str, Any]]:
    """Draw what diffusers drew.

    Args:
        unets: By kind.
        theirs: Latents by a drawing's place.
        models: Draw with these.
        most_steps: Draw what takes no more steps.
        every: Compare each so-many-th value along height and width of what the UNets draw.
    """
    # The formula is not compiled: there are more drawings of it than steps in each.
    compiled = {kind: tf.function(denoise_steps(unet, guided=True), autograph=False) for kind, unet in unets.items()}
    for place, one in enumerate(DRAWINGS):
        if one.model in models and one.steps <= most_steps:
            unet: Any = Formula(one.prediction) if one.model == "formula" else unets[one.model]
            ours = thinned(one, draw(unet, one, compiled.get(one.model) or denoise_steps(unet, one.scale != 1)), every)
            yield asdict(one) | {"relative": float(f"{difference(ours, theirs[str(place)]):.2g}")}


def thinned(drawing: Drawing, latents: Array, every: int) -> Array:
    """Leave out rows and columns of what a UNet drew."""
    return latents if drawing.model == "formula" else np.ascontiguousarray(latents[:, :, ::every, ::every])


def main() -> None:
    """Compare and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--peers", required=True, help="Python of an environment with torch, diffusers, transformers")
    parser.add_argument("--record", type=Path, help="file to write what tests/trainer/test_schedulers.py reads")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        theirs = ask(options.peers, Path(name))
        unets = {kind: unet_of(Path(name, kind, "diffusers")) for kind in KINDS}
    found = list(compare(unets, theirs))
    if options.record:
        drawings = enumerate(DRAWINGS)
        save_file({str(place): thinned(one, theirs[str(place)], EVERY) for place, one in drawings}, options.record)
    print(json.dumps({"worst": max(row["relative"] for row in found), "drawings": found}))


if __name__ == "__main__":
    main()
