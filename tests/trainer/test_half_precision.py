"""Types of half the width: which one a machine gets, and that vectors learn the same from them."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from trainer import objective
from trainer.base_weights.base_model import BaseModel
from trainer.base_weights.precision import of_gpu
from trainer.data.tokenizer import Tokenizer
from trainer.models import layers


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((3, 7), "float32"), ((6, 1), "float32"), ((7, 0), "float16"), ((7, 5), "float16"), ((8, 0), "bfloat16"),
     ((9, 0), "bfloat16"), ((10, 0), "bfloat16")],
)  # fmt: skip
def test_a_gpu_gets_what_its_tensor_cores_multiply(capability: tuple[int, int], dtype: str) -> None:
    assert of_gpu(capability) == dtype


def gradient(dtype: str, *, half: bool) -> np.ndarray:
    """Return the gradient of one vector from noise of the size of four pictures of 512 px in float32."""
    base = BaseModel("tiny", dtype=dtype)
    tokenizer: Tokenizer = base.tokenizer("<x>")
    frozen = objective.Frozen(base.text_encoder(tokenizer.vocabulary), base.diffusion_model(8, 8), tokenizer)
    rng = np.random.default_rng(0)
    latents, noise = (tf.constant(rng.standard_normal((2, 32, 32, 4), "float32")) for _ in range(2))
    tokens = tf.constant(tokenizer.rows(["a photo of <x>"] * 2))
    start = tf.constant(np.asarray(tf.cast(frozen.text_encoder.table, tf.float32))[tokenizer.ids("circle")])
    losses = objective.denoising_losses(frozen)

    def smaller(*arguments: Any) -> Any:
        return losses(*arguments) / 8.0  # as many elements as four pictures of 512 px have

    compute = objective.gradients(smaller, half=half)
    return np.asarray(compute(start, tf.zeros(()), latents, tokens, tf.constant([100, 700]), noise).gradient).ravel()


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_gradients_pass_through_float16_without_loss() -> None:
    exact = gradient("float32", half=False)
    scaled = gradient("float16", half=True)
    assert cosine(scaled, exact) > 0.9999
    assert np.linalg.norm(scaled) == pytest.approx(np.linalg.norm(exact), rel=0.01)
    # Without the scale most of it is below what float16 can hold.
    assert cosine(gradient("float16", half=False), exact) < 0.999


@pytest.mark.parametrize("many_scores", [layers.MANY_SCORES, 1], ids=["all heads at once", "head by head"])
def test_scores_beyond_float16_are_attended_to(many_scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MANY_SCORES", many_scores)
    rng = np.random.default_rng(1)
    queries, keys, values = (rng.standard_normal((1, 8, 64)).astype("float32") for _ in range(3))
    # Scores up to 300,000.
    parts = [tf.constant(part) for part in (900 * queries, 100 * keys, values)]

    def run(dtype: Any) -> list[np.ndarray]:
        watched = [tf.cast(part, dtype) for part in parts]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            attended = layers.attention(*watched, heads=2)
            total = tf.reduce_sum(tf.cast(attended, tf.float32) ** 2)
        return [np.asarray(tf.cast(one, tf.float32)) for one in (attended, *tape.gradient(total, watched))]

    exact, half = run(tf.float32), run(tf.float16)
    np.testing.assert_allclose(half[0], exact[0], atol=5e-3)
    np.testing.assert_allclose(half[3], exact[3], atol=2e-2)
    assert all(np.isfinite(one).all() for one in half)


def test_xla_compiles_attention_head_by_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MANY_SCORES", 1)
    rng = np.random.default_rng(2)
    parts = [tf.constant(rng.standard_normal((2, 16, 32), "float32")) for _ in range(3)]

    def run(*parts: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(parts)
            total = tf.reduce_sum(layers.attention(*parts, heads=4) ** 2)
        return tape.gradient(total, parts)

    plain, compiled = (tf.function(run, jit_compile=jit, autograph=False)(*parts) for jit in (False, True))
    for one, other in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
