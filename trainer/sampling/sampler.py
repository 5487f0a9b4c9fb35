"""Draw pictures: one sampler for the trainer, the Space and the Endpoint handler.

    Pipeline.load("tiny").draw("a large red circle", seed=7)

What makes it quick: both halves of the guidance go through the UNet as one batch, or only one of them where guidance
is off; the steps are one compiled loop (`denoise_loop`) over a table of numbers (`solver`); cross-attention keys and
values are computed once for all steps; weights are kept in bfloat16 where the machine computes in it; the context of a
negative prompt is kept; and all sizes share the weights. The same seed gives the same picture in trainer, Space and
endpoint, because all three run this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.base_weights.base_model import BaseModel
from trainer.base_weights.presets import Preset, files_for_drawing, of
from trainer.data.tokenizer import Tokenizer
from trainer.models.unet import DiffusionModel
from trainer.sampling.denoise_loop import Callback, CompiledModels, run
from trainer.sampling.solver import SOLVERS, Solver, table

MAX_IMAGES = 64
MAX_STEPS = 200
MIN_SIDE, MAX_SIDE = 64, 1024
BATCH_PIXELS = 2**20
"""Pixels that are drawn at once: 4 pictures of 512 px. What is more comes one batch after the other."""
_REMEMBERED = 8
Encode = Callable[[Any], Any]


class Pipeline:
    """A base model and a text encoder, ready to draw.

    Args:
        base: The base model.
        tokenizer: Knows the placeholder token.
        encode: Token ids (B, L) int32 -> context (B, L, D).
        resolution: Width and height of the pictures in pixels; None for the base model's own.
        diffusion_model: The UNet, where the caller has loaded it already.
        models: Those of another pipeline, where the caller has them; they serve any encoder and resolution.
    """

    def __init__(
        self,
        base: BaseModel,
        tokenizer: Tokenizer,
        encode: Encode,
        *,
        resolution: int | None = None,
        diffusion_model: DiffusionModel | None = None,
        models: CompiledModels | None = None,
    ) -> None:
        self.preset = base.preset
        self.resolution = resolution or base.preset.resolution
        self.tokenizer = tokenizer
        self._base = base
        self._encode = encode
        self._models = models or CompiledModels(base, self.resolution, diffusion_model)
        self._contexts: dict[str, Any] = {}

    @classmethod
    def load(
        cls,
        base_model: Preset | str,
        base_dir: str | None = None,
        text_encoder: str | None = None,
        placeholder_tokens: Sequence[str] = (),
        resolution: int | None = None,
    ) -> Pipeline:
        """Load a base model, with the text encoder of a published version if there is one.

        Args:
            base_model: Which one, or a preset's name.
            base_dir: Folder with the base model's weights; None when they ship with the project.
            text_encoder: Folder of a version's SavedModel; None for the base model's own encoder.
            placeholder_tokens: The version's tokens, the placeholder first.
            resolution: Width and height of the pictures in pixels.

        Raises:
            FileNotFoundError: weights or the SavedModel are missing; the message says which.
        """
        preset = of(base_model)
        files = files_for_drawing(preset, text_encoder=text_encoder is None)
        base = BaseModel(preset, base_dir, files=files)
        tokenizer = _tokenizer(base, placeholder_tokens)
        return cls(base, tokenizer, _encoder(base, tokenizer, text_encoder), resolution=resolution)

    def with_text_encoder(self, text_encoder: str, placeholder_tokens: Sequence[str]) -> Pipeline:
        """Make the pipeline of another version: it has an encoder of its own and shares everything else."""
        other: Pipeline = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.tokenizer = _tokenizer(self._base, placeholder_tokens)
        other._encode = _encoder(self._base, other.tokenizer, text_encoder)
        other._contexts = {}
        return other

    def warm_up(self, num_images: int = 1) -> None:
        """Draw one step, so that the first request does not wait for compilation."""
        self.draw("", num_images=num_images, steps=1)

    def draw(
        self,
        prompt: str,
        *,
        negative_prompt: str = "",
        num_images: int = 1,
        steps: int | None = None,
        guidance_scale: float | None = None,
        seed: int = 0,
        width: int | None = None,
        height: int | None = None,
        solver: Solver | None = None,
        callback: Callback | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Draw pictures of a prompt; the same arguments give the same pictures.

        Args:
            prompt: What to draw.
            negative_prompt: What to keep away from.
            num_images: 1 to 64.
            steps: Solver steps, 1 to 200; None for the base model's own.
            guidance_scale: Classifier-free guidance (Ho and Salimans 2022); 1 is none, and twice as fast. None for
                the base model's own.
            seed: Of the first picture; the next ones have seed + 1, seed + 2, ..., so each can be drawn again alone (in
                another batch sums are rounded in another order: a few of its pixels may be one of 255 levels off).
            width: In pixels, 64 to 1024, a multiple of the base model's `size_step`; None for `resolution`.
            height: As `width`.
            solver: One of SOLVERS; None for DPM-Solver++(2M).
            callback: Called with (steps done, steps in all) after each step; what it raises ends the drawing.

        Returns:
            uint8 (num_images, height, width, 3).

        Raises:
            ValueError: An argument is out of range, or a prompt is too long; the message says which.
        """
        steps = self.preset.sampling_steps if steps is None else steps
        scale = self.preset.guidance_scale if guidance_scale is None else guidance_scale
        width, height = width or self.resolution, height or self.resolution
        solver = solver or SOLVERS[0]
        self._check(prompt, negative_prompt, num_images, steps, scale, (width, height), solver)
        shape = (height // 8, width // 8, 4)
        rows = tf.constant(table(solver, steps))
        contexts = [self._context(text) for text in ([prompt] if scale == 1 else [negative_prompt, prompt])]
        key_values = self._models.cross_attention_kv(tf.concat(contexts, axis=0))
        at_once = max(1, BATCH_PIXELS // (width * height))
        starts = range(0, num_images, at_once)
        pictures = []
        for batch, start in enumerate(starts):
            seeds = range(abs(seed) + start, abs(seed) + min(start + at_once, num_images))
            latents = np.stack([np.random.default_rng(one).standard_normal(shape, "float32") for one in seeds])
            loop = self._models.loop(latents.shape, key_values, guided=scale != 1)
            told = _told(callback, batch * steps, len(starts) * steps)
            clean = run(loop, tf.constant(latents), rows, key_values, tf.constant(scale, tf.float32), told)
            pictures.append(self._models.decode(clean))
        return np.concatenate(pictures)

    def _check(
        self,
        prompt: str,
        negative_prompt: str,
        num_images: int,
        steps: int,
        scale: float,
        size: tuple[int, int],
        solver: str,
    ) -> None:
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
        if any(side % size_step(self.preset.kind) or not MIN_SIDE <= side <= MAX_SIDE for side in size):
            step = size_step(self.preset.kind)
            raise ValueError(f"width and height must be multiples of {step} from {MIN_SIDE} to {MAX_SIDE} pixels")
        if solver not in SOLVERS:
            raise ValueError(f"there is no solver {solver}; there are {', '.join(SOLVERS)}")

    def _context(self, text: str) -> Any:
        """Encode a text to its context, (1, L, D) float32, or take it from the last few: a negative prompt recurs."""
        if text in self._contexts:
            return self._contexts[text]
        context = tf.cast(self._encode(tf.constant(self.tokenizer.rows([text]))), "float32")
        # The vectors of a placeholder change while they are trained; everything else is frozen.
        if self.tokenizer.placeholder is None or self.tokenizer.placeholder not in text.lower():
            while len(self._contexts) >= _REMEMBERED:
                del self._contexts[next(iter(self._contexts))]
            self._contexts[text] = context
        return context


def _told(callback: Callback | None, done: int, of: int) -> Callback | None:
    return None if callback is None else lambda step, _: callback(done + step, of)


def _tokenizer(base: BaseModel, placeholder_tokens: Sequence[str]) -> Tokenizer:
    return base.tokenizer(placeholder_tokens[0] if placeholder_tokens else None, len(placeholder_tokens))


def _encoder(base: BaseModel, tokenizer: Tokenizer, text_encoder: str | None) -> Encode:
    """Load a version's SavedModel, or the base model's own encoder, as a function of token ids."""
    if text_encoder is None:
        model = base.text_encoder(tokenizer.vocabulary)
        nothing = tf.zeros((1, model.output_shape[-1]))
        return lambda tokens: model.encode_with_placeholders(tokens, nothing)
    if not Path(text_encoder, "saved_model.pb").is_file():
        raise FileNotFoundError(f"{text_encoder} holds no SavedModel")
    loaded = tf.saved_model.load(text_encoder)
    positions = tf.range(tokenizer.prompt_length)[None, :]
    return lambda tokens: loaded.encode(tokens, tf.repeat(positions, tokens.shape[0], axis=0))


def size_step(kind: str) -> int:
    """Give the pixels that width and height must be multiples of: the VAE's 8, times what the UNet halves."""
    return 16 if kind == "tiny" else 64
