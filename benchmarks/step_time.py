"""How long is one step of Textual Inversion at Stable Diffusion's full size, beside the peers'?

    python -m benchmarks.full_size BASE --merges bpe_simple_vocab_16e6.txt.gz
    python -m benchmarks.step_time --base BASE --peers PYTHON --json

Weights are random; PYTHON belongs to an environment with torch, diffusers and transformers. Every contestant is a
process of its own, and rounds alternate, so that a noisy machine is as noisy to all; figures are the fastest step of
each, in seconds, and `cpu` the processor's seconds of it. Who comes to the limit is judged by the steps taken by then,
of which the first, which traces and compiles, never counts. About 30 minutes on 2 cores, and 9 GB. The targets, at 256
px and batch 1, where the CPU has bfloat16: a sixth of the Keras tutorial's step, two thirds of diffusers' in bfloat16,
a third of its float32, and 4.5 GB at most.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers.stopwatch import measure

HERE = Path(__file__).parent
STEPS = 4


def ours(base_dir: Path, side: int, batch: int, steps: int) -> dict[str, float]:
    """A step as `trainer.train` takes it: cached latents, one vector, frozen weights."""
    import numpy as np

    from trainer import objective, training_config
    from trainer.base_weights.base_model import BaseModel
    from trainer.data import batches
    from trainer.data.latents import Latents
    from trainer.devices import Devices
    from trainer.models.layers import on_gpu

    wanted = training_config.parse(
        {
            "placeholder_token": "<x>",
            "initializer_token": "cat",
            "base_model": "sd-v1-4",
            "resolution": side,
            "training": {"batch_size": batch},
        }
    )
    base = BaseModel("sd-v1-4", base_dir, unverified=True)
    tokenizer = base.tokenizer("<x>")
    frozen = objective.Frozen(base.text_encoder(tokenizer.vocabulary), base.diffusion_model(side, side), tokenizer)
    shape = (8, side // 8, side // 8, 4)
    latents = Latents(np.ones(shape, "float32"), np.ones(shape, "float32"), ("",) * 8)
    compute = objective.gradients(objective.denoising_losses(frozen), half=frozen.dtype == "float16")
    run = Devices().compile(compute, on_gpu())
    start = objective.initial_vectors(wanted, frozen)
    numbers = iter(range(10**6))

    def step() -> None:
        batch_of = batches.draw_batch(latents, frozen.tokenizer, wanted, next(numbers)).arrays()
        [np.asarray(value) for value in run((start, np.zeros((), "float32")), batch_of)]

    return measure(step, steps)


def keras_tutorial(side: int, batch: int, steps: int) -> dict[str, float]:
    """The step of keras.io's tutorial: VAE in every step, the whole table's gradient, AdamW with weight decay."""
    import keras
    import numpy as np
    import tensorflow as tf
    from keras_cv.src.models.stable_diffusion.noise_scheduler import NoiseScheduler

    from trainer.models import keras_reference, shapes
    from trainer.models.unet import timestep_embedding

    with keras_reference.no_initialization():
        encoder = keras_reference.text_encoder("sd-v1-4", 49409)
        unet = keras_reference.diffusion_model("sd-v1-4", side, side)
        vae = keras_reference.sd_image_encoder()
    rng = np.random.default_rng(0)
    for model in (encoder, unet, vae):
        for weight in model.weights:
            scale = np.prod(weight.shape[:-1]) ** -0.5 if len(weight.shape) > 1 else 0.02
            weight.assign(rng.standard_normal(weight.shape, "float32") * np.float32(scale))
    unet.trainable = vae.trainable = False
    for layer in encoder.layers[3:]:
        layer.trainable = False
    encoder.layers[2].position_embedding.trainable = False
    scheduler = NoiseScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", train_timesteps=1000)
    optimizer = keras.optimizers.AdamW(learning_rate=1e-4, weight_decay=0.004, epsilon=1e-8, global_clipnorm=10)
    table = encoder.trainable_weights
    optimizer.build(table)
    positions = tf.constant([list(range(77))] * batch)
    images = tf.constant(rng.uniform(-1, 1, (batch, side, side, 3)).astype("float32"))
    tokens = np.full((batch, 77), 49407, "int32")
    tokens[:, :6] = [49406, 320, 1125, 539, 49408, 49407]
    only_new = tf.reshape(tf.constant([0.0] * 49408 + [1.0]), (-1, 1))

    @tf.function(jit_compile=False)  # type: ignore[untyped-decorator,unused-ignore]
    def train_step(images: Any, tokens: Any) -> Any:
        with tf.GradientTape() as tape:
            moments = vae(images)
            mean, log_variance = moments[..., :4], tf.clip_by_value(moments[..., 4:], -30.0, 20.0)
            latents = (mean + tf.exp(0.5 * log_variance) * tf.random.normal(tf.shape(mean))) * shapes.LATENT_SCALE
            noise = tf.random.normal(tf.shape(latents))
            times = tf.random.uniform((batch,), 0, 1000, tf.int64)
            noisy = scheduler.add_noise(latents, noise, times)
            context = encoder([tokens, positions])
            predicted = unet([noisy, timestep_embedding(times), context])
            loss = tf.reduce_mean(tf.square(noise - predicted))
        gradients = tape.gradient(loss, [weight.value for weight in table])
        gradients = [tf.convert_to_tensor(gradient) * only_new for gradient in gradients]
        optimizer.apply_gradients(zip(gradients, table, strict=True))
        return loss

    return measure(lambda: train_step(images, tf.constant(tokens)).numpy(), steps)


def run(arguments: list[str], limit: float, python: str = sys.executable) -> dict[str, Any] | None:
    """Measure one contestant in its own process: what it found, or had found by the limit.

    None when it failed, or did not take one step by then; stderr says so.
    """
    command = [python, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False, cwd=HERE.parent, timeout=limit)
        failed, told, problem = done.returncode != 0, done.stdout, done.stderr.decode()[-1500:]
    except subprocess.TimeoutExpired as error:
        failed, told, problem = False, error.stdout or b"", str(error)
        print(problem, file=sys.stderr, flush=True)
    lines = [line for line in told.decode().splitlines() if line.startswith("{")]
    if failed or not lines:
        print(" ".join(command), problem, file=sys.stderr, flush=True)
        return None
    found: dict[str, Any] = json.loads(lines[-1])
    print(arguments[-6:], found, file=sys.stderr, flush=True)
    return found


def better(old: dict[str, Any] | None, new: dict[str, Any] | None) -> dict[str, Any] | None:
    """The fastest step of several rounds."""
    if old is None or new is None:
        return old or new
    return {key: value if key == "versions" else min(old.get(key, value), value) for key, value in (old | new).items()}


def main() -> None:
    """Measure all contestants and print one JSON object; progress goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--base", type=Path, required=True, help="folder that benchmarks.full_size wrote")
    parser.add_argument("--peers", help="Python of an environment with torch, diffusers and transformers")
    parser.add_argument("--sizes", nargs="*", default=["256x1", "512x1", "256x4"], help="pixels x batch")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for one contestant's steps, at most")
    parser.add_argument("--one", choices=["ours", "keras"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    side, batch = map(int, options.sizes[0].split("x"))
    if options.one == "ours":
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        print(json.dumps(ours(options.base, side, batch, options.steps)))
        return
    if options.one == "keras":
        print(json.dumps(keras_tutorial(side, batch, options.steps)))
        return
    from trainer.base_weights import precision

    result: dict[str, Any] = {"weights": precision.storage("sd-v1-4"), "sizes": {}}
    for size in options.sizes:
        rows: dict[str, Any] = dict.fromkeys(("ours", "keras_tutorial", "diffusers_float32", "diffusers_bfloat16"))
        common = ["--base", str(options.base), "--sizes", size, "--steps", str(options.steps)]
        for _ in range(options.rounds):
            for name, which in (("ours", "ours"), ("keras_tutorial", "keras")):
                found = run(["-m", "benchmarks.step_time", "--one", which, *common], options.limit)
                rows[name] = better(rows[name], found)
            for kind in ("float32", "bfloat16") if options.peers else ():
                # Without instructions for it, a step in bfloat16 takes minutes.
                if kind == "bfloat16" and result["weights"] != "bfloat16":
                    continue
                script = ["-m", "benchmarks.peers.diffusers_step", size, kind, str(options.steps)]
                rows[f"diffusers_{kind}"] = better(rows[f"diffusers_{kind}"], run(script, options.limit, options.peers))
        mine = rows["ours"]
        ratios = {
            f"{name}_over_ours": {key: round(row[key] / mine[key], 2) for key in ("seconds", "cpu", "peak_gb")}
            for name, row in rows.items()
            if row and mine and name != "ours" and {"seconds"} <= row.keys() & mine.keys()
        }
        result["sizes"][size] = {"contestants": rows, "ratios": ratios}
    result["settings"] = {"steps": options.steps, "rounds": options.rounds, "cores": os.cpu_count()}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
