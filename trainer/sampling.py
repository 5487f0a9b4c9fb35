"""Draw pictures: one sampler for the trainer, the Space and the Endpoint handler.

The solver is DPM-Solver++(2M) (Lu et al. 2022): second order, two calls of the UNet a step, both in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer import models
from trainer.base import BaseModel
from trainer.schedule import TIMESTEPS, alphas_cumprod
from trainer.tokens import Tokenizer

MAX_IMAGES = 64
MAX_STEPS = 200
Encode = Callable[[Any], Any]


class Pipeline:
    """A base model and a text encoder, ready to draw.

    Args:
        base: The base model.
        tokenizer: Knows the placeholder token.
        encode: Token ids (B, L) int32 -> context (B, L, D).
        resolution: Width and height of the pictures in pixels; None for the base model's own.
    """

    def __init__(
        self,
        base: BaseModel,
        tokenizer: Tokenizer,
        encode: Encode,
        *,
        resolution: int | None = None,
        diffusion_model: Any = None,
    ) -> None:
        self.preset = base.preset
        self.resolution = resolution or base.preset.resolution
        self.tokenizer = tokenizer
        self._encode = encode
        self._unet = diffusion_model or base.diffusion_model(self.resolution, self.resolution)
        self._decoder = base.decoder(self.resolution, self.resolution)
        self._noise = tf.function(self._guided_noise, reduce_retracing=True, autograph=False)
        self._decode = tf.function(self._decoder, reduce_retracing=True, autograph=False)
        self._unconditional: dict[str, Any] = {}

    @classmethod
    def load(
        cls,
        base_model: str,
        base_dir: str | None = None,
        text_encoder: str | None = None,
        placeholder_tokens: Sequence[str] = (),
        resolution: int | None = None,
    ) -> Pipeline:
        """Load a base model, with the text encoder of a published version if there is one.

        Args:
            base_model: A preset's name.
            base_dir: Folder with the base model's weights; None when they ship with the project.
            text_encoder: Folder of a version's SavedModel; None for the base model's own encoder.
            placeholder_tokens: The version's tokens, the placeholder first.
            resolution: Width and height of the pictures in pixels.
        """
        base = BaseModel(base_model, base_dir)
        placeholder = placeholder_tokens[0] if placeholder_tokens else None
        tokenizer = base.tokenizer(placeholder, len(placeholder_tokens))
        if text_encoder is None:
            model = base.text_encoder(tokenizer.vocabulary)
            nothing = tf.zeros((1, model.output_shape[-1]))

            def encode(tokens: Any) -> Any:
                return models.splice(model, tokens, nothing)
        else:
            if not Path(text_encoder, "saved_model.pb").is_file():
                raise FileNotFoundError(f"{text_encoder} holds no SavedModel")
            loaded = tf.saved_model.load(text_encoder)
            positions = tf.range(tokenizer.prompt_length)[None, :]

            def encode(tokens: Any) -> Any:
                repeated = tf.repeat(positions, tokens.shape[0], axis=0)
                return loaded.encode(tokens, repeated)

        return cls(base, tokenizer, encode, resolution=resolution)

    def draw(
        self,
        prompt: str,
        *,
        negative_prompt: str = "",
        num_images: int = 1,
        steps: int | None = None,
        guidance_scale: float | None = None,
        seed: int = 0,
        callback: Callable[[int, int], None] | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Draw pictures of a prompt; the same arguments give the same pictures.

        Args:
            prompt: What to draw.
            negative_prompt: What to keep away from.
            num_images: 1 to 64.
            steps: Solver steps, 1 to 200; None for the base model's own.
            guidance_scale: Classifier-free guidance (Ho and Salimans 2022); 1 is none. None for the base model's own.
            seed: Of the first picture; the next ones have seed + 1, seed + 2, ..., so each can be drawn again alone.
            callback: Called with (steps done, steps in all) after each step.

        Returns:
            uint8 (num_images, height, width, 3).

        Raises:
            ValueError: An argument is out of range, or a prompt is too long; the message says which.
        """
        steps = self.preset.sampling_steps if steps is None else steps
        scale = self.preset.guidance_scale if guidance_scale is None else guidance_scale
        self._check(prompt, negative_prompt, num_images, steps, scale)
        shape = (self.resolution // 8, self.resolution // 8, 4)
        latents = np.stack(
            [np.random.default_rng(abs(seed) + index).standard_normal(shape, "float32") for index in range(num_images)]
        )
        context = self._context(prompt, negative_prompt, num_images)
        solver = _Solver(steps)
        for index in range(steps):
            noise = self._noise(
                tf.constant(latents), tf.constant(solver.timesteps[index]), context, tf.constant(scale, tf.float32)
            ).numpy()
            latents = solver.step(index, latents, noise)
            if callback:
                callback(index + 1, steps)
        pixels = self._decode(tf.constant(latents)).numpy()
        return np.asarray(np.clip((pixels + 1.0) * 127.5 + 0.5, 0, 255).astype("uint8"))

    def _check(self, prompt: str, negative_prompt: str, num_images: int, steps: int, scale: float) -> None:
        for what, text in (("prompt", prompt), ("negative prompt", negative_prompt)):
            if not self.tokenizer.fits(text):
                raise ValueError(
                    f"the {what} is too long: {len(self.tokenizer.ids(text))} tokens, "
                    f"at most {self.tokenizer.prompt_length - 2} fit"
                )
        if not 1 <= num_images <= MAX_IMAGES:
            raise ValueError(f"the number of pictures must be 1 to {MAX_IMAGES}, not {num_images}")
        if not 1 <= steps <= MAX_STEPS:
            raise ValueError(f"the number of steps must be 1 to {MAX_STEPS}, not {steps}")
        if not 0 <= scale <= 50:
            raise ValueError(f"the guidance scale must be 0 to 50, not {scale}")

    def _context(self, prompt: str, negative_prompt: str, count: int) -> Any:
        if negative_prompt not in self._unconditional:
            self._unconditional = {negative_prompt: self._encode(tf.constant(self.tokenizer.rows([negative_prompt])))}
        wanted = self._encode(tf.constant(self.tokenizer.rows([prompt])))
        return tf.concat(
            [tf.repeat(self._unconditional[negative_prompt], count, 0), tf.repeat(wanted, count, 0)], axis=0
        )

    def _guided_noise(self, latents: Any, timestep: Any, context: Any, scale: Any) -> Any:
        both = tf.concat([latents, latents], axis=0)
        embedding = models.timestep_embedding(tf.repeat(timestep[None], tf.shape(both)[0]))
        unconditional, wanted = tf.split(self._unet([both, embedding, context]), 2, axis=0)
        return unconditional + scale * (wanted - unconditional)


class _Solver:
    """DPM-Solver++(2M) in the data prediction, timesteps evenly spaced, first order at the last step."""

    def __init__(self, steps: int) -> None:
        spaced = np.linspace(TIMESTEPS - 1, 0, steps + 1).round().astype("int32")
        self.timesteps = spaced[:-1]
        alpha = alphas_cumprod().astype("float64")[spaced]
        self._alpha, self._sigma = np.sqrt(alpha), np.sqrt(1.0 - alpha)
        self._lambda = np.log(self._alpha) - np.log(self._sigma)
        self._steps = steps
        self._previous: npt.NDArray[np.float32] | None = None

    def step(
        self, index: int, latents: npt.NDArray[np.float32], noise: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        clean = (latents - self._sigma[index] * noise) / self._alpha[index]
        if index == self._steps - 1:
            return np.asarray(clean, "float32")
        h = self._lambda[index + 1] - self._lambda[index]
        estimate = clean
        if self._previous is not None:
            ratio = (self._lambda[index] - self._lambda[index - 1]) / h
            estimate = clean + (clean - self._previous) / (2.0 * ratio)
        self._previous = clean
        following = (self._sigma[index + 1] / self._sigma[index]) * latents
        return np.asarray(following - self._alpha[index + 1] * np.expm1(-h) * estimate, "float32")
