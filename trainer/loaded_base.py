"""A base model in memory, with everything that the trainings of one process share of it."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from trainer.base_weights import weight_reader
from trainer.base_weights.base_model import BaseModel
from trainer.base_weights.presets import Preset, locate
from trainer.data.latents import Encoder, compile_encoder
from trainer.data.tokenizer import Tokenizer
from trainer.devices import Devices
from trainer.models.text_encoder import TextEncoder
from trainer.models.unet import DiffusionModel
from trainer.objective import Frozen


class LoadedBase:
    """The parts of a base model, each loaded once, and what was compiled over them.

    None of it depends on a concept: a second training computes the same numbers with it as a new process does.

    Args:
        preset: Which base model.
        base_dir: Folder of its weights; None for one that ships with the project.
        unverified: Take weights that are not the published ones.
        dtype: Of the frozen weights; None for the fastest here.
        stays: Whether another training may follow in this process: then no part is freed when a training is done
            with it.

    Raises:
        ConfigError, FileNotFoundError, ValueError: As `Devices` and `BaseModel`.
    """

    def __init__(
        self,
        preset: Preset,
        base_dir: Path | None,
        *,
        unverified: bool = False,
        dtype: str | None = None,
        stays: bool = False,
    ) -> None:
        self.devices = Devices()
        self.identity = identity(preset, base_dir, unverified=unverified, dtype=dtype)
        self.model = BaseModel(preset, base_dir, verify_later=True, unverified=unverified, dtype=dtype)
        self.stays = stays
        self._compiled: dict[Hashable, Any] = {}

    def image_encoder(self) -> Encoder:
        """Compile the VAE's encoder; unless the base model stays, its weights leave memory with the last view."""
        if not self.stays:
            return compile_encoder(self.model.image_encoder())
        if "image encoder" not in self._compiled:
            self._compiled["image encoder"] = compile_encoder(self.model.image_encoder())
        return cast(Encoder, self._compiled["image encoder"])

    def frozen(self, tokenizer: Tokenizer) -> Frozen:
        """Return text encoder and UNet with the tokenizer of a training."""
        with self.devices.scope():
            return Frozen(self._text_encoder(tokenizer.vocabulary), self._diffusion_model, tokenizer, self._compiled)

    def free_diffusion_model(self) -> None:
        """Give back the memory of the UNet when the last picture is drawn, unless the base model stays."""
        if not self.stays:
            weight_reader.free(self._diffusion_model.weights)

    def _text_encoder(self, vocabulary: int) -> TextEncoder:
        if "text encoder" not in self._compiled:
            self._compiled["text encoder"] = self.model.text_encoder(vocabulary)
        return cast(TextEncoder, self._compiled["text encoder"])

    @cached_property
    def _diffusion_model(self) -> DiffusionModel:
        # It takes latents of any size.
        return self.model.diffusion_model(0, 0)


def identity(preset: Preset, base_dir: Path | None, *, unverified: bool, dtype: str | None) -> Hashable:
    """Name what is loaded of a base model, without reading its files: each file's place, inode, size and time.

    The arguments are those of `LoadedBase`.

    Raises:
        FileNotFoundError: A file is missing.
    """
    files = sorted((place, path, path.stat()) for place, path in locate(preset, base_dir).items())
    states = tuple((place, str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns) for place, path, stat in files)
    return preset, unverified, dtype, states
