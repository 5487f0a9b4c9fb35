"""Our text encoder and UNet compute what KerasCV's do, forward and backward, from the same weights."""

from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from trainer.base_weights import weight_reader
from trainer.base_weights.base_model import BaseModel
from trainer.base_weights.presets import locate
from trainer.models import keras_reference, layers
from trainer.models.shapes import KERAS_CV, TINY
from trainer.models.text_encoder import TextEncoder
from trainer.models.unet import timestep_embedding

FILE = locate("tiny")["tiny.safetensors"]


def from_keras(part: str, model: keras.Model) -> keras.Model:
    keras_reference.assign(model, weight_reader.read(FILE, part), part)
    return model


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return BaseModel("tiny", numbers=KERAS_CV)


@pytest.fixture(scope="module")
def unet() -> keras.Model:
    with keras_reference.no_initialization():
        model = keras_reference.tiny_diffusion_model(64, 64)
    return from_keras("diffusion_model", model)


def test_the_text_encoder_is_kerascvs(base: BaseModel) -> None:
    tokenizer = base.tokenizer()
    tokens = tf.constant(tokenizer.rows(["a photo of a red circle", "blue star", ""]))
    theirs = from_keras("text_encoder", keras_reference.tiny_text_encoder(tokenizer.vocabulary))
    wanted = theirs([tokens, tf.repeat(tf.range(24)[None], 3, axis=0)])
    found = base.text_encoder(tokenizer.vocabulary).encode_with_placeholders(tokens, tf.zeros((1, 96)))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("many_scores", [layers.MANY_SCORES, 1], ids=["all heads at once", "head by head"])
def test_the_unet_is_kerascvs_forward_and_backward(
    base: BaseModel, unet: keras.Model, many_scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "MANY_SCORES", many_scores)
    rng = np.random.default_rng(0)
    latent, context = (tf.constant(rng.standard_normal(shape, "float32")) for shape in ((2, 8, 8, 4), (2, 24, 96)))
    time = timestep_embedding(tf.constant([3, 700]))

    def run(model: object) -> list[np.ndarray]:
        with tf.GradientTape() as tape:
            tape.watch(context)
            noise = model([latent, time, context])  # type: ignore[operator]
            loss = tf.reduce_sum(noise**2)
        return [np.asarray(noise), np.asarray(tape.gradient(loss, context))]

    wanted = run(unet)
    for ours, theirs in zip(run(base.diffusion_model(64, 64)), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize(
    ("count", "side", "stride", "small_kernel"),
    [(2, 4, 1, 0), (2, 8, 2, 0), (2, 16, 1, 0), (1, 32, 1, 2**22), (1, 64, 2, 2**22)],
    ids=["big kernel", "big kernel, stride 2", "big kernel, big picture", "lone picture", "lone picture, stride 2"],
)
def test_a_convolution_is_tensorflows(
    count: int, side: int, stride: int, small_kernel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "SMALL_KERNEL", {tf.float32: small_kernel})
    rng = np.random.default_rng(side)
    channels = 64
    x = tf.constant(rng.standard_normal((count, side, side, channels), "float32"))
    kernel = tf.Variable(rng.standard_normal((3, 3, channels, channels), "float32") / 40, trainable=False)
    bias = tf.zeros(channels)
    dy = tf.constant(rng.standard_normal((count, side // stride, side // stride, channels), "float32"))

    @tf.function
    def ours(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layers.conv(x, kernel, bias, stride)
        return y, tape.gradient(y, x, dy)

    with tf.GradientTape() as tape:
        tape.watch(x)
        wanted = tf.nn.conv2d(tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), kernel, stride, "VALID")
    for found, theirs in zip(ours(x), (wanted, tape.gradient(wanted, x, dy)), strict=True):
        np.testing.assert_allclose(found, theirs, atol=1e-4)


def test_weights_in_bfloat16_give_nearly_the_same(base: BaseModel) -> None:
    tokenizer = base.tokenizer()
    tokens = tf.constant(tokenizer.rows(["a photo of a red circle"]))
    nothing = tf.zeros((1, 96))
    half = BaseModel("tiny", dtype="bfloat16")
    exact, rough = (
        each.text_encoder(tokenizer.vocabulary).encode_with_placeholders(tokens, nothing) for each in (base, half)
    )
    assert rough.dtype == tf.float32
    assert np.abs(rough - exact).mean() < 0.02
    inputs = [tf.ones((1, 8, 8, 4)), timestep_embedding(tf.constant([500])), exact]
    wanted, found = (each.diffusion_model(64, 64)(inputs) for each in (base, half))
    assert found.dtype == tf.float32
    assert np.abs(found - wanted).mean() < 0.05


def test_weights_of_another_architecture_are_refused() -> None:
    shape = replace(TINY.text_encoder, layers=2)
    reader = weight_reader.WeightReader(weight_reader.read(FILE, "text_encoder"), "float32", "tiny: text_encoder")
    made = TextEncoder(shape, BaseModel("tiny").tokenizer().vocabulary, reader)
    assert len(made.blocks) == 2
    with pytest.raises(ValueError, match="holds more than 36 weights: another architecture"):
        reader.finish()


# Keras hands its variables to NumPy 2 in the old way.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
def test_a_file_that_keras_2_wrote_is_read_in_its_order(unet: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, unet)
    stored = list(weight_reader.read(path, "diffusion_model"))
    assert [array.shape for array in stored] == [tuple(weight.shape) for weight in unet.weights]
    reader = weight_reader.WeightReader(iter(stored), "float32", "model.h5")
    for array, weight in zip(stored, unet.weights, strict=True):
        np.testing.assert_array_equal(array, weight)
        np.testing.assert_array_equal(reader(array.shape), weight)


def test_weights_are_taken_however_they_lie_in_memory() -> None:
    matrix = np.arange(128 * 64, dtype="float32").reshape(128, 64)
    locked = matrix.copy()
    locked.flags.writeable = False
    elsewhere = matrix.reshape(-1)[1:4097].reshape(64, 64)
    laid = [matrix, matrix.T.copy().T, locked, np.asfortranarray(matrix)[::2], elsewhere]
    reader = weight_reader.WeightReader(iter(laid), "float32", "here")
    for array in laid:
        np.testing.assert_array_equal(reader(array.shape), array)


@pytest.mark.parametrize("count", [1, 2])
def test_the_autoencoder_is_kerascvs(base: BaseModel, count: int) -> None:
    with keras_reference.no_initialization():
        encoder, decoder = keras_reference.tiny_image_encoder(), keras_reference.tiny_decoder(64, 64)
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(-1, 1, (count, 64, 64, 3)).astype("float32"))
    np.testing.assert_allclose(base.image_encoder()(images), from_keras("image_encoder", encoder)(images), atol=1e-4)
    latents = tf.constant(rng.standard_normal((count, 8, 8, 4), "float32"))
    np.testing.assert_allclose(base.decoder()(latents), from_keras("decoder", decoder)(latents), atol=1e-4)
