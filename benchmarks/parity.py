"""Do our parts compute what KerasCV's do, at the full size, from the same random weights?

    python -m benchmarks.full_size BASE --merges bpe_simple_vocab_16e6.txt.gz
    python -m benchmarks.parity --base BASE --json

About 3 minutes and 11 GB on 2 cores; without --base, `tiny` in seconds. For the text encoder, the UNet and the gradient
that reaches the prompt's context (which is all that training follows), and for both halves of the VAE: the largest
difference between ours, as used in training, and KerasCV's, the size of KerasCV's numbers (their root mean square), and
the ratio of both, which must be within float32's tolerance: sums of ten thousand products differ by some 1e-6 to 1e-5.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf

from trainer.base_weights import weight_reader
from trainer.base_weights.base_model import BaseModel
from trainer.models import keras_reference
from trainer.models.shapes import KERAS_CV
from trainer.models.unet import timestep_embedding


def outputs(model: Callable[..., Any], inputs: tuple[Any, ...], follow: int | None = None) -> list[Any]:
    """What a model gives, and the gradient of its output's mean square with regard to one of its inputs."""
    inputs = tuple(map(tf.constant, inputs))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator,unused-ignore]
    def run(*inputs: Any) -> Any:
        if follow is None:
            return (model(*inputs),)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs[follow])
            output = model(*inputs)
            loss = tf.reduce_mean(tf.square(output))
        return output, tape.gradient(loss, inputs[follow])

    return [np.asarray(array, "float32") for array in run(*inputs)]


def compared(wanted: Any, found: Any) -> dict[str, float]:
    """The largest difference, the root mean square of what was wanted, and their ratio."""
    difference, size = float(np.abs(wanted - found).max()), float(np.sqrt(np.mean(np.square(wanted, dtype="float64"))))
    return {"largest_difference": difference, "size": size, "relative": difference / size}


def theirs(base: BaseModel, part: str, build: Callable[[], keras.Model]) -> keras.Model:
    """KerasCV's model of a part, with the weights of the file that ours reads."""
    with keras_reference.no_initialization():
        model = build()
    path = base.path(part)
    keras_reference.assign(model, weight_reader.read(path, part), f"{path}: {part}")
    return model


def compare(base: BaseModel, side: int) -> dict[str, dict[str, float]]:
    """Every part in turn; two sets of weights of one part are in memory at a time."""
    rng = np.random.default_rng(0)
    name, tokenizer = base.name, base.tokenizer()
    tokens = tokenizer.rows(["a photo of a red circle", ""])
    positions = np.repeat(np.arange(tokenizer.prompt_length, dtype="int32")[None], 2, axis=0)
    found: dict[str, dict[str, float]] = {}

    keras_model = theirs(base, "text_encoder", lambda: keras_reference.text_encoder(name, tokenizer.vocabulary))
    encoder = base.text_encoder(tokenizer.vocabulary)
    nothing = tf.zeros((1, encoder.shape.width))
    (wanted,) = outputs(lambda *inputs: keras_model(list(inputs)), (tokens, positions))
    (context,) = outputs(lambda tokens: encoder.encode_with_placeholders(tokens, nothing), (tokens,))
    found["text encoder"] = compared(wanted, context)
    del keras_model
    gc.collect()

    latent = rng.standard_normal((2, side // 8, side // 8, 4), "float32")
    inputs = latent, np.asarray(timestep_embedding(tf.constant([3, 700]))), context
    for count in (1, 2):
        # A picture alone goes another way than several.
        few = tuple(array[:count] for array in inputs)
        keras_model = theirs(base, "diffusion_model", lambda: keras_reference.diffusion_model(name, side, side))
        wanted, gradient = outputs(lambda *inputs, model=keras_model: model(list(inputs)), few, follow=2)
        del keras_model
        gc.collect()
        unet = base.diffusion_model(side, side)
        ours = outputs(lambda *inputs, unet=unet: unet(list(inputs)), few, follow=2)
        del unet
        gc.collect()
        found[f"UNet, {count} at once"] = compared(wanted, ours[0])
        found[f"gradient of the context, {count} at once"] = compared(gradient, ours[1])

    image = rng.uniform(-1, 1, (1, side, side, 3)).astype("float32")
    keras_model = theirs(base, "image_encoder", lambda: keras_reference.image_encoder(name))
    found["VAE encoder"] = compared(*(outputs(model, (image,))[0] for model in (keras_model, base.image_encoder())))
    keras_model = theirs(base, "decoder", lambda: keras_reference.decoder(name, side, side))
    found["VAE decoder"] = compared(*(outputs(model, (latent[:1],))[0] for model in (keras_model, base.decoder())))
    return found


def main() -> None:
    """Compare and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--base", type=Path, help="folder that benchmarks.full_size wrote; without it, tiny")
    parser.add_argument("--side", type=int, default=None, help="pixels; 256 at full size, 64 for tiny")
    options = parser.parse_args()
    base = BaseModel(
        "sd-v1-4" if options.base else "tiny", options.base, unverified=True, dtype="float32", numbers=KERAS_CV
    )
    side = options.side or (256 if options.base else 64)
    found = {
        part: {key: float(f"{value:.3g}") for key, value in row.items()} for part, row in compare(base, side).items()
    }
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    print(json.dumps({"parts": found, "settings": {"base": base.name, "side": side}, "versions": versions}, indent=2))


if __name__ == "__main__":
    main()
