"""Load a base model's parts, each when it is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from trainer.base_weights import precision, weight_reader
from trainer.base_weights.presets import MERGES, Preset, PresetFile, locate, of
from trainer.base_weights.sd_checkpoint import Checkpoint, open_checkpoint
from trainer.data.tokenizer import Tokenizer
from trainer.models.autoencoder import Decoder, ImageEncoder
from trainer.models.layers import ReadWeight
from trainer.models.shapes import ORIGINAL, SHAPES, Numbers
from trainer.models.text_encoder import TextEncoder
from trainer.models.unet import DiffusionModel

_SD_FILES = {
    "text_encoder": "kcv_encoder.h5",
    "diffusion_model": "kcv_diffusion_model.h5",
    "image_encoder": "vae_encoder.h5",
    "decoder": "kcv_decoder.h5",
}

Part = TypeVar("Part", TextEncoder, DiffusionModel, ImageEncoder, Decoder)


class BaseModel:
    """One base model on disk.

    Args:
        preset: Which one, or a preset's name.
        base_dir: A folder with its files, looked into first; None for a preset that ships with the project.
        verify_later: Hash the files in a thread while something else is done; `verify` waits for it. Four gigabytes
            take a few seconds.
        unverified: Take files of the right names with other weights: fine-tuned ones, or random ones for measurements.
        dtype: What the frozen weights are stored and computed in; None for the fastest that this machine has.
        files: Those that will be read, the others may be missing; None for all.
        numbers: Constants of the program that the parts are to compute the same as.

    Raises:
        FileNotFoundError: A file is missing; the message says which and where it can be had.
        ValueError: A file's sha256 is not the preset's, or a checkpoint is of another kind than it says.
    """

    def __init__(
        self,
        preset: Preset | str,
        base_dir: str | Path | None = None,
        *,
        verify_later: bool = False,
        unverified: bool = False,
        dtype: str | None = None,
        files: Sequence[PresetFile] | None = None,
        numbers: Numbers = ORIGINAL,
    ) -> None:
        self.preset = of(preset)
        self.name = self.preset.name
        self.base_dir, self.unverified = base_dir, unverified
        self.dtype = dtype or precision.storage(self.preset.kind)
        files = self.preset.files if files is None else files
        self._files = locate(self.preset, base_dir, files)
        self._numbers = numbers
        self._checkpoint = _open(self.preset, base_dir) if self.preset.checkpoint else None
        self.shapes = self._checkpoint.shapes if self._checkpoint else SHAPES[self.name]
        pool = ThreadPoolExecutor(1)
        expected = {self._files[file.place]: file.sha256 for file in files}
        checked = () if unverified else expected.items()
        self._checks: list[Future[None]] = [pool.submit(self._check, *entry) for entry in checked]
        pool.shutdown(wait=False)
        if not verify_later:
            self.verify()

    def verify(self) -> None:
        """Wait until every file's sha256 is compared with the preset's. Raises ValueError when one differs."""
        for check in self._checks:
            check.result()

    def _check(self, path: Path, expected: str) -> None:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != expected:
            raise ValueError(
                f"base model {self.name}: {path} has sha256 {found}, not {expected}: remove and fetch it again"
            )

    def tokenizer(self, placeholder: str | None = None, num_vectors: int = 1) -> Tokenizer:
        """Load the tokenizer, with a concept's placeholder token if there is one."""
        merges = self._files["merges.txt.gz" if self.name == "tiny" else MERGES.place]
        shapes = self.shapes
        return Tokenizer(merges, shapes.text_encoder.length, placeholder, num_vectors, padding=shapes.padding)

    def text_encoder(self, vocabulary: int, dtype: str | None = None) -> TextEncoder:
        """Load the text encoder; `dtype` overrides the base model's. Raises ValueError as `_load`."""
        shape = self.shapes.text_encoder
        return self._load("text_encoder", lambda read: TextEncoder(shape, vocabulary, read), dtype)

    def diffusion_model(self, _height: int, _width: int) -> DiffusionModel:
        """Load the UNet, which takes latents of any size. Raises ValueError as `_load`."""
        prediction = self.preset.prediction
        return self._load(
            "diffusion_model", lambda read: DiffusionModel(self.shapes.unet, read, self._numbers, prediction)
        )

    def image_encoder(self) -> ImageEncoder:
        """Load the VAE's encoder. Raises ValueError as `_load`."""
        plan = self.shapes.image_encoder
        return self._load("image_encoder", lambda read: ImageEncoder(plan, read, self._numbers))

    def decoder(self) -> Decoder:
        """Load the VAE's decoder, which makes pictures of any size. Raises ValueError as `_load`."""
        return self._load("decoder", lambda read: Decoder(self.shapes.decoder, read, self._numbers))

    def path(self, part: str) -> Path:
        """Find the file that holds a part's weights."""
        if self._checkpoint is not None:
            return self._checkpoint.names(part)[0].path
        return self._files["tiny.safetensors" if self.name == "tiny" else _SD_FILES[part]]

    def _load(self, part: str, make: Callable[[ReadWeight], Part], dtype: str | None = None) -> Part:
        path = self.path(part)
        if self._checkpoint is not None:
            arrays = weight_reader.read_named(*self._checkpoint.names(part))
        else:
            arrays = weight_reader.read(path, part)
        reader = weight_reader.WeightReader(arrays, dtype or self.dtype, f"{path}: {part}")
        made = make(reader)
        reader.finish()
        made.weights = reader.variables
        return made


def _open(preset: Preset, base_dir: str | Path | None) -> Checkpoint:
    found = open_checkpoint(Path(base_dir or ".") / str(preset.checkpoint))
    if found.kind != preset.kind or found.prediction not in (None, preset.prediction):
        raise ValueError(
            f"base model {preset.name}: {found.path} is {found.kind} with prediction {found.prediction}, and not "
            f"{preset.kind} with {preset.prediction}"
        )
    return found
