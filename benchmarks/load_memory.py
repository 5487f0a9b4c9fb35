"""How much memory does it take to load a checkpoint?

    python -m benchmarks.load_memory CHECKPOINT

run by benchmarks.checkpoints in a process of its own. All parts of a checkpoint, a .safetensors file or a folder of
diffusers, are loaded in float32, one after the other, and kept. One JSON object: `weights` are the bytes of the loaded
weights, `peak` the most that the process held beyond what it held before (without pages of the mapped file, which the
kernel takes back), both in MB, `copies` the second divided by the first, and `seconds`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.checkpoints import load
from trainer.base_weights.sd_checkpoint import open_checkpoint
from trainer.models.autoencoder import Decoder, ImageEncoder
from trainer.models.text_encoder import TextEncoder
from trainer.models.unet import DiffusionModel

_MB, _EVERY = 2**20, 0.005
"""Bytes; seconds between two looks."""


def anonymous_bytes() -> int:
    """Return the memory of this process without pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


@contextmanager
def highest() -> Iterator[list[int]]:
    """Watch the memory in a thread; the list holds the highest value."""
    found, ended = [anonymous_bytes()], threading.Event()

    def watch() -> None:
        while not ended.wait(_EVERY):
            found[0] = max(found[0], anonymous_bytes())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def main() -> None:
    """Load, and print one JSON object."""
    checkpoint = open_checkpoint(Path(sys.argv[1]))
    shapes, before, begun, kept, weights = checkpoint.shapes, anonymous_bytes(), time.monotonic(), [], 0
    makers = {
        "text_encoder": lambda read: TextEncoder(shapes.text_encoder, checkpoint.vocabulary, read),
        "diffusion_model": lambda read: DiffusionModel(shapes.unet, read),
        "image_encoder": lambda read: ImageEncoder(shapes.image_encoder, read),
        "decoder": lambda read: Decoder(shapes.decoder, read),
    }
    with highest() as found:
        for part, make in makers.items():
            kept.append(load(checkpoint, part, make))
            weights += sum(one.shape.num_elements() * one.dtype.size for one in kept[-1].weights)
    peak = found[0] - before
    print(json.dumps({
        "weights": round(weights / _MB), "peak": round(peak / _MB), "copies": round(peak / weights, 2),
        "seconds": round(time.monotonic() - begun, 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
