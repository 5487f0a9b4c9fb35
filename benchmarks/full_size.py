"""A base folder of Stable Diffusion's full size with random weights, for measurements without the real ones.

    python -m benchmarks.full_size FOLDER --merges bpe_simple_vocab_16e6.txt.gz

It writes 4.3 GB in the files and the format of the published weights, in about a minute. The wheel of open_clip_torch
carries the merges. `python -m trainer --base FOLDER --unverified` trains on it.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import numpy as np

from trainer.models import keras_reference
from trainer.models.shapes import SD_1
from trainer.models.text_encoder import TextEncoder
from trainer.models.unet import DiffusionModel

VOCABULARY = 49408


class _Writer:
    """Gives random weights to whoever builds a part, and writes them to an .h5 file as Keras 2 laid it out."""

    def __init__(self, path: Path, seed: int) -> None:
        self._file = h5py.File(path, "w")
        self._group = self._file.create_group("layer")
        self._rng = np.random.default_rng(seed)
        self._names: list[str] = []

    def __call__(self, *shapes: Sequence[int], **_how_it_is_kept: bool) -> Any:
        for shape in shapes:
            name = f"weight_{len(self._names):04d}"
            self._group.create_dataset(name, data=self._values(shape))
            self._names.append(name)
        return SimpleNamespace()

    def _values(self, shape: Sequence[int]) -> Any:
        noise = self._rng.standard_normal(tuple(shape), "float32")
        if len(shape) == 1:
            # Biases and a norm's scale alike: near one, so that neither is nothing.
            return 1.0 + 0.1 * noise if self._rng.random() < 0.5 else 0.02 * noise
        return noise * np.float32(0.02 if shape[0] == VOCABULARY else np.prod(shape[:-1]) ** -0.5)

    def close(self) -> None:
        self._file.attrs["layer_names"] = np.asarray(["layer"], "S")
        self._group.attrs["weight_names"] = np.asarray(self._names, "S")
        self._file.close()


def make(folder: Path, merges: Path, seed: int = 0) -> Path:
    """Write the folder unless it is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(merges, folder / "bpe_simple_vocab_16e6.txt.gz")

    def keras_model(build: Callable[[], Any]) -> Callable[[_Writer], None]:
        def write(writer: _Writer) -> None:
            with keras_reference.no_initialization():
                for weight in build().weights:
                    writer(weight.shape)

        return write

    encoder, unet = SD_1.text_encoder, SD_1.unet
    builders: dict[str, Callable[[_Writer], object]] = {
        "kcv_encoder.h5": lambda writer: TextEncoder(encoder, VOCABULARY, writer),
        "kcv_diffusion_model.h5": lambda writer: DiffusionModel(unet, writer),
        "vae_encoder.h5": keras_model(keras_reference.sd_image_encoder),
        "kcv_decoder.h5": keras_model(lambda: keras_reference.decoder("sd-v1-4", 256, 256)),
    }
    for index, (name, build) in enumerate(builders.items()):
        if not (folder / name).is_file():
            partial = folder / f"{name}.partial"
            writer = _Writer(partial, seed + index)
            build(writer)
            writer.close()
            partial.replace(folder / name)
    return folder


def main() -> None:
    """Write the folder that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--merges", type=Path, required=True)
    options = parser.parse_args()
    make(options.folder, options.merges)


if __name__ == "__main__":
    main()
