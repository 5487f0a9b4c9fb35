"""Pictures of a token as it is learned: always the same prompt and seeds, so that grids can be compared."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image

from trainer.base_weights.base_model import BaseModel
from trainer.data import prompts
from trainer.objective import Frozen
from trainer.sampling.denoise_loop import CompiledModels
from trainer.sampling.sampler import Pipeline
from trainer.training_config import Config

Vectors = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


class Grids:
    """Draws the prompt that losses are compared with. The decoder is loaded when the first picture is drawn."""

    def __init__(self, base: BaseModel, frozen: Frozen, config: Config) -> None:
        self._base, self._frozen, self._config = base, frozen, config
        self._vectors: tf.Variable | None = None
        self.prompt = prompts.evaluation_prompt(config.learnable_property).format(config.placeholder_token)

    def draw(self, vectors: Vectors, count: int) -> Pixels:
        """Draw `count` pictures with the given vectors, uint8 (count, H, W, 3); the first has the config's seed."""
        if self._vectors is None:
            self._vectors = tf.Variable(vectors)
        self._vectors.assign(vectors)
        return self._pipeline.draw(self.prompt, num_images=count, seed=self._config.seed)

    @cached_property
    def _pipeline(self) -> Pipeline:
        frozen, resolution = self._frozen, self._config.resolution
        models = frozen.once("drawing", lambda: CompiledModels(self._base, resolution, frozen.diffusion_model))
        return Pipeline(
            self._base,
            frozen.tokenizer,
            lambda tokens: frozen.text_encoder.encode_with_placeholders(tokens, self._vectors),
            resolution=resolution,
            models=models,
        )


def grid(pictures: Pixels, columns: int = 4) -> Pixels:
    """Lay pictures, uint8 (N, H, W, 3), side by side; small ones are enlarged so that a person can see them."""
    count, height, width, _ = pictures.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for index, pixels in enumerate(pictures):
        sheet.paste(Image.fromarray(pixels), (index % columns * width, index // columns * height))
    zoom = max(1, 128 // width)
    return np.asarray(sheet.resize((sheet.width * zoom, sheet.height * zoom), Image.Resampling.NEAREST))


def save_grid(pictures: Pixels, path: Path) -> None:
    """Save pictures as one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid(pictures)).save(path)
