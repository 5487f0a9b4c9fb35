"""Load a base model's parts, each when it is needed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras

from trainer import models, weights
from trainer.presets import PRESETS, locate
from trainer.tokens import Tokenizer

_SD_FILES = {
    "text_encoder": "kcv_encoder.h5",
    "diffusion_model": "kcv_diffusion_model.h5",
    "image_encoder": "vae_encoder.h5",
    "decoder": "kcv_decoder.h5",
}


class BaseModel:
    """One base model on disk.

    Args:
        name: A preset's name.
        base_dir: A folder with its files, looked into first; None for a preset that ships with the project.

    Raises:
        FileNotFoundError: A file is missing; the message says which and where it can be had.
        ValueError: A file's sha256 is not the preset's.
    """

    def __init__(self, name: str, base_dir: str | Path | None = None) -> None:
        self.name = name
        self.preset = PRESETS[name]
        self._files = locate(name, base_dir)
        self._architecture = models.TINY_ARCHITECTURE if name == "tiny" else models.SD_ARCHITECTURE
        for file in self.preset.files:
            self._check(self._files[Path(file.path).name], file.sha256)

    def _check(self, path: Path, expected: str) -> None:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != expected:
            raise ValueError(f"base model {self.name}: {path.name} has sha256 {found}, not {expected}: fetch it again")

    def tokenizer(self, placeholder: str | None = None, num_vectors: int = 1) -> Tokenizer:
        """The tokenizer, with a concept's placeholder token if there is one."""
        merges = "merges.txt.gz" if self.name == "tiny" else "bpe_simple_vocab_16e6.txt.gz"
        return Tokenizer(self._files[merges], self._architecture.prompt_length, placeholder, num_vectors)

    def text_encoder(self, vocabulary: int) -> keras.Model:
        """The text encoder with its weights."""
        return self._load("text_encoder", models.text_encoder(self.name, vocabulary))

    def diffusion_model(self, height: int, width: int) -> keras.Model:
        """The UNet with its weights, for images of `height` x `width` pixels."""
        return self._load("diffusion_model", models.diffusion_model(self.name, height, width))

    def image_encoder(self) -> keras.Model:
        """The VAE's encoder with its weights."""
        return self._load("image_encoder", models.image_encoder(self.name))

    def decoder(self, height: int, width: int) -> keras.Model:
        """The VAE's decoder with its weights, for images of `height` x `width` pixels."""
        return self._load("decoder", models.decoder(self.name, height, width))

    def _load(self, part: str, model: keras.Model) -> Any:
        if self.name == "tiny":
            weights.load(self._files["tiny.safetensors"], {part: model})
        else:
            model.load_weights(str(self._files[_SD_FILES[part]]))
        model.trainable = False
        return model
