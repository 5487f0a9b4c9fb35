"""The Keras tutorial's Textual Inversion (keras.io, fine_tune_via_textual_inversion), ported to the `tiny` base model.

What is the tutorial's own: KerasCV's models; the VAE in every step, of a fresh crop of 0.8 to 1 of the picture; one
picture a step; timesteps uniform over the schedule; the gradient of the whole table of tokens, with all rows but the
new one set to nothing; Adam with weight decay 0.004 over that table, epsilon 1e-8, gradients clipped to a norm of 10; a
cosine from 1e-4 to nothing over 50 epochs of 250 steps; the new row starts from the initializer's.

What the port changes, in its favour: sentences with words that `tiny` never saw are left out, pictures are not mirrored
(its world has crescents of one hand only), and the crops are made before the clock starts.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras_cv.src.models.stable_diffusion.noise_scheduler import NoiseScheduler
from PIL import Image

from trainer.base_weights import weight_reader
from trainer.base_weights.base_model import BaseModel
from trainer.base_weights.presets import locate
from trainer.data.pictures import Picture
from trainer.models import keras_reference, shapes
from trainer.models.unet import timestep_embedding
from trainer.tiny import world

STEPS = 12_500
LEARNING_RATE = 1e-4
CROPS = 500
_ADJECTIVES = ("", "clean ", "dark ", "cool ", "nice ", "small ", "weird ", "large ")
_KINDS = ("photo", "rendering", "cropped photo", "close-up photo", "bright photo", "good photo", "rendition")
SENTENCES = (
    *(f"a {kind} of {article} {{}}" for kind in _KINDS for article in ("a", "the")),
    *(f"a photo of a {adjective}{{}}" for adjective in _ADJECTIVES[1:]),
    *("the photo of a {}", "a photo of my {}", "a photo of one {}"),
)


def known(sentence: str) -> bool:
    """Whether `tiny` has been trained with every word of a sentence."""
    return set(sentence.format("").replace("-", " ").split()) <= set(world.WORDS)


class Tutorial:
    """One training, step by step.

    Args:
        pictures: What to learn.
        initializer: The word whose row the new one starts from.
        learning_rate: At the start of the cosine.
        steps: Of the cosine.
        seed: Of everything random.
        compile: Whether XLA compiles a step.
    """

    def __init__(
        self,
        pictures: list[Picture],
        initializer: str,
        learning_rate: float = LEARNING_RATE,
        steps: int = STEPS,
        seed: int = 0,
        *,
        compile: bool = False,
    ) -> None:
        tokenizer = BaseModel("tiny").tokenizer("<x>")
        self._new = tokenizer.vocabulary
        self._encoder, unet, vae = self._models(tokenizer.ids(initializer)[0])
        (self._table,) = self._encoder.trainable_weights
        self._rng = np.random.default_rng(seed)
        self._crops = np.stack([self._crop(pictures[index % len(pictures)]) for index in range(CROPS)])
        self._rows = tokenizer.rows([text.format("<x>") for text in SENTENCES if known(text)])
        tf.random.set_seed(seed)
        rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
        self._optimizer = keras.optimizers.Adam(rate, weight_decay=0.004, epsilon=1e-8, global_clipnorm=10)
        self._optimizer.build([self._table])
        positions = tf.range(tokenizer.prompt_length)[None, :]
        scheduler = NoiseScheduler(1000, 0.00085, 0.012, "scaled_linear")
        only_new = np.zeros((tokenizer.vocabulary + 1, 1), "float32")
        only_new[-1] = 1.0

        @tf.function(jit_compile=compile, autograph=False)  # type: ignore[untyped-decorator,unused-ignore]
        def train_step(images: Any, tokens: Any) -> Any:
            with tf.GradientTape() as tape:
                mean, log_variance = tf.split(vae(images), 2, axis=-1)
                deviation = tf.exp(0.5 * tf.clip_by_value(log_variance, -30.0, 20.0))
                latents = (mean + deviation * tf.random.normal(tf.shape(mean))) * shapes.LATENT_SCALE
                noise = tf.random.normal(tf.shape(latents))
                times = tf.random.uniform((1,), 0, 1000, tf.int64)
                noisy = scheduler.add_noise(latents, noise, times)
                context = self._encoder([tokens, positions])
                predicted = unet([noisy, timestep_embedding(times), context])
                loss = tf.reduce_mean(tf.square(noise - predicted))
            gradient = tf.convert_to_tensor(tape.gradient(loss, self._table.value)) * only_new
            self._optimizer.apply_gradients([(gradient, self._table)])
            return loss

        self._train_step = train_step

    def step(self) -> float:
        """Take one step and return its loss."""
        image = self._crops[self._rng.integers(CROPS)][None]
        row = self._rows[self._rng.integers(len(self._rows))][None]
        return float(self._train_step(tf.constant(image), tf.constant(row)))

    def context(self, tokens: Any) -> Any:
        """What the text encoder, whose whole table may have moved, makes of token ids (B, L) int32: (B, L, D)."""
        return self._encoder([tokens, tf.repeat(tf.range(tokens.shape[1])[None, :], tokens.shape[0], axis=0)])

    def _models(self, start: int) -> tuple[keras.Model, keras.Model, keras.Model]:
        file = locate("tiny")["tiny.safetensors"]
        with keras_reference.no_initialization():
            encoder = keras_reference.tiny_text_encoder(self._new + 1)
            unet, vae = (
                keras_reference.tiny_diffusion_model(world.SIZE, world.SIZE),
                keras_reference.tiny_image_encoder(),
            )
        arrays = list(weight_reader.read(file, "text_encoder"))
        arrays[0] = np.concatenate([arrays[0], arrays[0][start : start + 1]])
        keras_reference.assign(encoder, iter(arrays), "text_encoder")
        keras_reference.load(file, {"diffusion_model": unet, "image_encoder": vae})
        unet.trainable = vae.trainable = False
        for layer in encoder.layers[3:]:
            layer.trainable = False
        encoder.layers[2].position_embedding.trainable = False
        return encoder, unet, vae

    def _crop(self, picture: Picture) -> npt.NDArray[np.float32]:
        image = Image.fromarray(picture.pixels)
        side = int(image.width * self._rng.uniform(0.8, 1.0) ** 0.5)
        left, top = (int(self._rng.integers(0, image.width - side + 1)) for _ in range(2))
        resized = image.resize((world.SIZE, world.SIZE), box=(left, top, left + side, top + side))
        return np.asarray(np.asarray(resized) / 127.5 - 1.0, "float32")
