"""What is learned here loads in diffusers, and means the same to transformers' CLIPTextModel.

    python -m benchmarks.interchange --peers PYTHON --json

PYTHON belongs to an environment with torch, diffusers and transformers. Half a minute. The largest difference between
our context and theirs, from the same weights and vectors, must be within float32's tolerance (1e-4).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from trainer import export
from trainer.base import BaseModel


def main() -> None:
    """Write what the peers need, run them, and print their one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--peers", required=True, help="Python of an environment with torch, diffusers, transformers")
    parser.add_argument("--base", type=Path, help="folder that benchmarks.full_size wrote; without it, tiny")
    options = parser.parse_args()
    base = BaseModel("sd-v1-4" if options.base else "tiny", options.base, unverified=True)
    tokenizer = base.tokenizer("<x>", 2)
    encoder = base.text_encoder(tokenizer.vocabulary, dtype="float32")
    vectors = np.random.default_rng(0).standard_normal((2, encoder.shape.width), "float32") * 0.1
    tokens = tokenizer.rows(["a photo of <x>", "a red circle"])
    arrays = {f"w{index:04d}": np.asarray(weight) for index, weight in enumerate(encoder.weights)}
    context = encoder.splice(tf.constant(tokens), tf.constant(vectors)).numpy()
    with tempfile.TemporaryDirectory() as folder:
        arrays |= {"tokens": tokens, "context": context, "heads": np.asarray(encoder.shape.heads)}
        np.savez(Path(folder, "encoder.npz"), allow_pickle=False, **arrays)
        export.learned_embeds(Path(folder, "learned_embeds.safetensors"), "<x>", vectors)
        script = Path(__file__).parent / "peers" / "interchange.py"
        subprocess.run([options.peers, str(script), folder], check=True)


if __name__ == "__main__":
    main()
