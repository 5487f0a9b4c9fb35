"""What is learned here loads in diffusers, and means the same to transformers' CLIPTextModel; so do our scores.

    python -m benchmarks.interchange --peers PYTHON --json

PYTHON belongs to an environment with torch, diffusers and transformers. Half a minute. The largest difference between
our context and theirs, from the same weights and vectors, must be within float32's tolerance (1e-4). `clip` compares
both towers and the preprocessing that samples are scored with, and says what they cost: of a small model of random
weights; with `--clip FOLDER` of the CLIP model in FOLDER, or, when that is empty, of random ones at full size (1.7 GB).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from trainer import export
from trainer.base_weights.base_model import BaseModel
from trainer.models.clip import Clip, prepare


def main() -> None:
    """Write what the peers need, run them, and print their one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--peers", required=True, help="Python of an environment with torch, diffusers, transformers")
    parser.add_argument("--base", type=Path, help="folder that benchmarks.full_size wrote; without it, tiny")
    parser.add_argument("--clip", type=Path, help="folder of a CLIP model; an empty one gets random weights, full size")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _write_encoder(Path(folder), options.base)
        found = json.loads(_peer(options.peers, "load_embeds.py", folder).splitlines()[-1])
        model = options.clip or Path(folder, "clip")
        _peer(options.peers, "transformers_clip.py", str(model), "large" if options.clip else "tiny")
        print(json.dumps(found | {"clip": _compare(model)}))


def _peer(python: str, script: str, *arguments: str) -> str:
    command = [python, str(Path(__file__).parent / "peers" / script), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _write_encoder(folder: Path, base_dir: Path | None) -> None:
    base = BaseModel("sd-v1-4" if base_dir else "tiny", base_dir, unverified=True)
    tokenizer = base.tokenizer("<x>", 2)
    encoder = base.text_encoder(tokenizer.vocabulary, dtype="float32")
    vectors = np.random.default_rng(0).standard_normal((2, encoder.shape.width), "float32") * 0.1
    tokens = tokenizer.rows(["a photo of <x>", "a red circle"])
    arrays = {f"w{index:04d}": np.asarray(weight) for index, weight in enumerate(encoder.weights)}
    context = encoder.encode_with_placeholders(tf.constant(tokens), tf.constant(vectors)).numpy()
    arrays |= {"tokens": tokens, "context": context, "heads": np.asarray(encoder.shape.heads)}
    np.savez(folder / "encoder.npz", allow_pickle=False, **arrays)
    export.learned_embeds(folder / "learned_embeds.safetensors", "<x>", vectors)


def _compare(folder: Path) -> dict[str, Any]:
    """Largest differences of what both make of the same pictures and texts; seconds and memory of each."""
    theirs = np.load(folder / "expected.npz")
    pictures = [theirs[f"picture{index}"] for index in range(len(theirs["images"]))]
    before, begun = _peak(), time.monotonic()
    clip = Clip(folder)
    images, texts = clip.images(pictures), clip.texts(theirs["tokens"])
    seconds = time.monotonic() - begun
    prepared = [prepare(picture, clip.shape.vision.side) for picture in pictures[: len(theirs["prepared"])]]
    ours = {"prepared": np.stack(prepared), "images": images, "texts": texts, "cosines": images @ texts.T}
    return {
        "largest_difference": {name: float(np.abs(value - theirs[name]).max()) for name, value in ours.items()},
        "pictures": len(pictures),
        "texts": len(texts),
        "seconds": {"ours": round(seconds, 2), "transformers": round(float(theirs["seconds"]), 2)},
        "peak_gb": {"before": before, "ours": _peak(), "transformers": round(float(theirs["peak_gb"]), 2)},
    }


def _peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)


if __name__ == "__main__":
    main()
