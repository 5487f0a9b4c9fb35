"""Make the weights of the `tiny` base model again, from nothing.

    python -m trainer.tiny.pretrain --output trainer/tiny --work /tmp/tiny

It writes `merges.txt.gz` and `tiny.safetensors` (16 bit, under 8 MB) into --output. On 2 cores the VAE takes about 8
minutes and the diffusion model about 40; each stage is kept in --work, so a second start goes on where the first one
ended. What the result can do is measured by `python -m benchmarks.tiny_inversion`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.data.tokenizer import Tokenizer
from trainer.models import keras_reference
from trainer.models.shapes import LATENT_SCALE, TINY
from trainer.models.unet import timestep_embedding
from trainer.sampling.noise_schedule import TIMESTEPS, alphas_cumprod
from trainer.tiny import world

SEED = 20261122
IMAGES = 30_000
VAE_STEPS, VAE_BATCH, VAE_RATE = 1_600, 16, 2e-3
KL_WEIGHT = 1e-4
DIFFUSION_STEPS, DIFFUSION_BATCH, DIFFUSION_RATE = 4_500, 64, 2e-3
CAPTION_DROP = 0.08
MIN_SNR_GAMMA = 5.0
"""Hang et al. 2023: without it the many nearly clean timesteps take most of the gradient."""

Array = npt.NDArray[Any]


def write_merges(path: Path) -> None:
    """Learn byte-pair merges (Sennrich et al. 2016) until every word of the world is one token; the bytes are fixed."""
    words = {word: [*word[:-1], word[-1] + "</w>"] for word in dict.fromkeys(world.WORDS)}
    merges: list[str] = []
    while pairs := Counter(pair for symbols in words.values() for pair in pairwise(symbols)):
        first, second = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(f"{first} {second}")
        words = {word: _merge(symbols, first, second) for word, symbols in words.items()}
    text = "\n".join(["#version: conceptry tiny", *merges])
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def _merge(symbols: list[str], first: str, second: str) -> list[str]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and merged[-1] == first and symbol == second:
            merged[-1] = first + second
        else:
            merged.append(symbol)
    return merged


def write_digests(folder: Path) -> None:
    """Write the sha256 of both files, which the preset checks when it loads them."""
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("merges.txt.gz", "tiny.safetensors")
    }
    (folder / "digests.json").write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")


def pictures(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw `count` pictures of random pairs: uint8 (count, 64, 64, 3), and each one's index in `world.PAIRS`."""
    which = rng.integers(0, len(world.PAIRS), count)
    pairs = (world.PAIRS[index] for index in which)
    images = np.stack([np.asarray(world.draw(colour, shape, rng)) for colour, shape in pairs])
    return images, which


def to_unit(images: Array) -> Array:
    """Convert uint8 pictures to float32 in [-1, 1]."""
    return (images.astype("float32") / 127.5) - 1.0


def train_vae(
    images: Array, encoder: keras.Model, decoder: keras.Model, steps: int = VAE_STEPS, peak: float = VAE_RATE
) -> None:
    """Train both halves of the VAE: absolute and squared error, and a small KL term. `peak` is the highest rate."""
    variables = encoder.trainable_variables + decoder.trainable_variables
    rate = keras.optimizers.schedules.CosineDecay(peak / 10, steps, 0.02, warmup_target=peak, warmup_steps=100)
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=1.0)
    optimizer.build(variables)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator,unused-ignore]
    def step(batch: Any, noise: Any) -> Any:
        with tf.GradientTape() as tape:
            mean, log_variance = tf.split(encoder(batch), 2, axis=-1)
            log_variance = tf.clip_by_value(log_variance, -20.0, 10.0)
            latents = mean + tf.exp(0.5 * log_variance) * noise
            error = decoder(latents * LATENT_SCALE) - batch
            squared = tf.reduce_mean(error**2)
            kl = 0.5 * tf.reduce_mean(mean**2 + tf.exp(log_variance) - 1.0 - log_variance)
            loss = squared + 0.2 * tf.reduce_mean(tf.abs(error)) + KL_WEIGHT * kl
        optimizer.apply(tape.gradient(loss, variables), variables)
        return squared

    rng = np.random.default_rng(SEED)
    started = time.monotonic()
    for index in range(1, steps + 1):
        batch = to_unit(images[rng.integers(0, len(images), VAE_BATCH)])
        squared = step(batch, rng.standard_normal((VAE_BATCH, 8, 8, 4), "float32"))
        if index % 100 == 0:
            decibels = 10 * np.log10(4 / float(squared))
            print(f"vae {index}/{steps} psnr {decibels:.1f} dB, {time.monotonic() - started:.0f} s", flush=True)


def encode(images: Array, encoder: keras.Model) -> tuple[Array, Array]:
    """Encode pictures; return mean and standard deviation of their latents, each (N, 8, 8, 4)."""
    run = tf.function(encoder, jit_compile=True)
    found = [run(to_unit(images[start : start + 100])).numpy() for start in range(0, len(images), 100)]
    mean, log_variance = np.split(np.concatenate(found), 2, axis=-1)
    return mean, np.exp(0.5 * np.clip(log_variance, -20, 10))


def fold_scale(encoder: keras.Model, decoder: keras.Model, mean: Array) -> float:
    """Scale the latents inside the weights, so that times 0.18215 gives unit variance, as in Stable Diffusion."""
    factor = 1.0 / (LATENT_SCALE * float(mean.std()))
    last, first = encoder.layers[-1].conv2d, decoder.layers[1].conv2d
    kernel, bias = last.get_weights()
    kernel[..., :4] *= factor
    bias[:4] *= factor
    bias[4:] += 2 * np.log(factor)
    last.set_weights([kernel, bias])
    kernel, bias = first.get_weights()
    first.set_weights([kernel / factor, bias])
    return factor


def caption(pair: tuple[str, str], rng: np.random.Generator) -> str:
    """Caption a picture afresh; held-out pairs, and some others, go without words."""
    silent = pair in world.HELD_OUT or rng.random() < CAPTION_DROP
    return "" if silent else world.caption(pair, rng)


def train_diffusion(
    latents: tuple[Array, Array],
    caption_of: Callable[[int, np.random.Generator], str],
    tokenizer: Tokenizer,
    text: keras.Model,
    unet: keras.Model,
    steps: int,
    snapshot: Path,
    peak: float = DIFFUSION_RATE,
) -> None:
    """Train text encoder and UNet together to predict the noise; the average of the weights is what stays.

    Args:
        latents: mean and standard deviation of each picture's latents, as `encode` returns them.
        caption_of: makes a fresh caption of a picture, given its index.
        tokenizer: of the captions.
        text: the text encoder.
        unet: the diffusion model.
        steps: how many, of `DIFFUSION_BATCH` pictures each.
        snapshot: where unfinished weights are saved now and then.
        peak: the highest learning rate.
    """
    mean, deviation = latents
    variables = text.trainable_variables + unet.trainable_variables
    rate = keras.optimizers.schedules.CosineDecay(peak / 20, steps - 200, 0.01, warmup_target=peak, warmup_steps=200)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0, use_ema=True, ema_momentum=0.998)
    optimizer.build(variables)
    alphas = alphas_cumprod()
    positions = tf.constant(np.tile(np.arange(tokenizer.prompt_length, dtype="int32"), (DIFFUSION_BATCH, 1)))

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator,unused-ignore]
    def step(clean: Any, tokens: Any, timesteps: Any, noise: Any) -> Any:
        alpha = tf.gather(alphas, timesteps)[:, None, None, None]
        noisy = tf.sqrt(alpha) * clean + tf.sqrt(1.0 - alpha) * noise
        snr = alpha[:, 0, 0, 0] / (1.0 - alpha[:, 0, 0, 0])
        weight = tf.minimum(snr, MIN_SNR_GAMMA) / snr
        with tf.GradientTape() as tape:
            context = text([tokens, positions])
            predicted = unet([noisy, timestep_embedding(timesteps), context])
            errors = tf.reduce_mean((predicted - noise) ** 2, axis=(1, 2, 3))
            loss = tf.reduce_mean(weight * errors)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return tf.reduce_mean(errors)

    rng = np.random.default_rng(SEED + 1)
    cache: dict[str, Array] = {}
    shape = (DIFFUSION_BATCH, *mean.shape[1:])
    started, losses = time.monotonic(), []
    for index in range(1, steps + 1):
        rows = rng.integers(0, len(mean), DIFFUSION_BATCH)
        clean = (mean[rows] + deviation[rows] * rng.standard_normal(shape, "float32")) * LATENT_SCALE
        timesteps = rng.integers(0, TIMESTEPS, DIFFUSION_BATCH, dtype="int32")
        texts = [caption_of(int(row), rng) for row in rows]
        for words in texts:
            if words not in cache:
                cache[words] = tokenizer.rows([words])[0]
        tokens = np.stack([cache[words] for words in texts])
        losses.append(step(clean, tokens, timesteps, rng.standard_normal(shape, "float32")))
        if index % 100 == 0:
            loss = np.mean([float(value) for value in losses[-100:]])
            print(f"diffusion {index}/{steps} loss {loss:.4f}, {time.monotonic() - started:.0f} s", flush=True)
        if index % 500 == 0:
            # To look at while it trains; these are not the averaged weights.
            keras_reference.save(snapshot, {"text_encoder": text, "diffusion_model": unet}, dtype="float32")
    optimizer.finalize_variable_values(variables)


def main() -> None:
    """Run the stages that --work does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="where tiny.safetensors and merges.txt.gz go")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder; holds what is finished")
    parser.add_argument("--steps", type=int, default=DIFFUSION_STEPS, help="steps of the diffusion model")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    options.output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(SEED)
    write_merges(options.output / "merges.txt.gz")
    tokenizer = Tokenizer(options.output / "merges.txt.gz", TINY.text_encoder.length)
    built = {
        "text_encoder": keras_reference.text_encoder("tiny", tokenizer.vocabulary),
        "diffusion_model": keras_reference.diffusion_model("tiny", world.SIZE, world.SIZE),
        "image_encoder": keras_reference.image_encoder("tiny"),
        "decoder": keras_reference.decoder("tiny", world.SIZE, world.SIZE),
    }
    print({name: part.count_params() for name, part in built.items()}, flush=True)
    images, which = pictures(IMAGES, np.random.default_rng(SEED))
    vae = {name: built[name] for name in ("image_encoder", "decoder")}
    if (options.work / "vae.safetensors").exists():
        keras_reference.load(options.work / "vae.safetensors", vae)
    else:
        train_vae(images, built["image_encoder"], built["decoder"])
        mean, _ = encode(images[:2000], built["image_encoder"])
        print("latents scaled by", fold_scale(built["image_encoder"], built["decoder"], mean), flush=True)
        keras_reference.save(options.work / "vae.safetensors", vae, dtype="float32")
    latents = encode(images, built["image_encoder"])
    train_diffusion(
        latents,
        lambda index, rng: caption(world.PAIRS[which[index]], rng),
        tokenizer,
        built["text_encoder"],
        built["diffusion_model"],
        options.steps,
        options.work / "snapshot.safetensors",
    )
    keras_reference.save(options.output / "tiny.safetensors", built, dtype="float16")
    write_digests(options.output)
    print("done:", (options.output / "tiny.safetensors").stat().st_size, "bytes", flush=True)


if __name__ == "__main__":
    main()
