"""Train the judge again; what it is stands in the package's docstring."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks import judge
from trainer.models import keras_reference

SEED, IMAGES, EPOCHS, BATCH = 7, 16_000, 4, 64


def main() -> None:
    """Draw, train, test on fresh pictures, save."""
    keras.utils.set_random_seed(SEED)
    pictures, colours, shapes = _draw(IMAGES, SEED)
    model = judge.network()
    steps = EPOCHS * IMAGES // BATCH
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps, 0.01)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.01), [loss, loss], jit_compile=True)
    model.fit(pictures, [colours, shapes], batch_size=BATCH, epochs=EPOCHS, verbose=2)
    keras_reference.save(judge.WEIGHTS, {"judge": model}, "float16")
    pictures, colours, shapes = _draw(4_000, SEED + 1)
    seen_colours, seen_shapes = (np.argmax(logits, axis=1) for logits in judge.load().predict(pictures, verbose=0))
    real = shapes != judge.BLOB
    figures = {
        "colour": float((seen_colours == colours)[real].mean()),
        "shape": float((seen_shapes == shapes)[real].mean()),
        "blob": float((seen_shapes == shapes)[~real].mean()),
        "tensorflow": tf.__version__,
    }
    print(json.dumps(figures))


def _draw(count: int, seed: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    pictures, colours, shapes = zip(*(judge.example(rng) for _ in range(count)), strict=True)
    return np.stack(pictures).astype("float32") / 127.5 - 1.0, np.array(colours), np.array(shapes)


if __name__ == "__main__":
    main()
