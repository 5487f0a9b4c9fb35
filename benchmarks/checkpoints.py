"""Do our parts compute what diffusers and transformers do, from checkpoints as people have them?

    python -m benchmarks.checkpoints --peers PYTHON --json [--full] [--kind sd1] [--numbers float16]

PYTHON belongs to an environment with torch, diffusers and transformers. Random checkpoints of Stable Diffusion 1's and
2's shape (small, or with --full of the published sizes, 14 GB of memory) are written by diffusers, as its folder and as
one file in the original layout, in float32, float16 and bfloat16. Ours read each. `relative` is the largest difference
divided by the largest value, of each part's output and of the gradient of two vectors; both compute in float32.
`memory` is what benchmarks.load_memory measures in a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file

from trainer.base_weights import tensor_names, weight_reader
from trainer.base_weights.sd_checkpoint import Checkpoint, open_checkpoint
from trainer.base_weights.tensor_names import DIFFUSERS, ORIGINAL
from trainer.models.autoencoder import Decoder, ImageEncoder
from trainer.models.shapes import (
    Shapes,
    TextEncoderShape,
    sd_decoder,
    sd_image_encoder,
    sd_unet,
)
from trainer.models.text_encoder import TextEncoder
from trainer.models.unet import DiffusionModel, timestep_embedding

KINDS, NUMBERS = ("sd1", "sd2"), ("float32", "float16", "bfloat16")
_FULL = {"widths": (320, 640, 1280, 1280), "vae": (128, 256, 512, 512), "vocabulary": 49408, "side": 256}
_SMALL = {"vae": (32, 32, 64, 64), "vocabulary": 789, "side": 128, "width": 128, "layers": 3}
_SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "small": {
        "sd1": _SMALL | {"widths": (32, 64, 64, 64), "heads": 8},
        "sd2": _SMALL | {"widths": (64, 64, 128, 128), "heads": [1, 1, 2, 2]},
    },
    "full": {
        "sd1": _FULL | {"width": 768, "layers": 12, "heads": 8},
        "sd2": _FULL | {"width": 1024, "layers": 23, "heads": [5, 10, 20, 20]},
    },
}
"""`widths` are the UNet's, `vae` the VAE's, `width` and `layers` the text encoder's; `side` of a picture in pixels."""


def name_table(kind: str, size: str) -> dict[str, dict[str, list[str]]]:
    """Map the names of the original layout to those of diffusers, by folder; the peer checks them."""
    told = _SIZES[size][kind]
    text = TextEncoderShape(77, told["width"], told["layers"], told["width"] // 64, quick=kind == "sd1")
    unet = sd_unet(told["width"], 8 if kind == "sd1" else 0, widths=told["widths"])
    shapes = Shapes(text, unet, sd_image_encoder(told["vae"]), sd_decoder(told["vae"]))
    open_clip = kind == "sd2"
    pairs = {
        "text_encoder": (
            tensor_names.text_encoder(text, DIFFUSERS), tensor_names.text_encoder(text, ORIGINAL, open_clip=open_clip)
        ),
        "unet": tuple(tensor_names.unet(shapes.unet, layout) for layout in (DIFFUSERS, ORIGINAL)),
        "vae": tuple(
            [*tensor_names.image_encoder(shapes.image_encoder, layout), *tensor_names.decoder(shapes.decoder, layout)]
            for layout in (DIFFUSERS, ORIGINAL)
        ),
    }  # fmt: skip
    table: dict[str, dict[str, list[str]]] = {}
    for folder, (theirs, original) in pairs.items():
        for one, other in zip(theirs, original, strict=True):
            table.setdefault(folder, {}).setdefault(other.text, []).append(one.text)
    return table


def write(peers: str, folder: Path, kind: str, numbers: str = "float32", size: str = "small") -> None:
    """Have diffusers write a checkpoint, as FOLDER/diffusers and FOLDER/single.safetensors, and what it computes."""
    request = folder / "request.json"
    told = {"kind": kind, "numbers": numbers, "names": name_table(kind, size)}
    request.write_text(json.dumps(_SIZES[size][kind] | told))
    script = Path(__file__).parent / "peers" / "diffusers_checkpoints.py"
    subprocess.run([peers, str(script), str(folder), str(request)], check=True, stdout=subprocess.DEVNULL)


def load(checkpoint: Checkpoint, part: str, make: Any) -> Any:
    """Build a part with the checkpoint's weights in float32."""
    reader = weight_reader.WeightReader(
        weight_reader.read_named(*checkpoint.names(part)), "float32", f"{checkpoint.path}: {part}"
    )
    made = make(reader)
    reader.finish()
    made.weights = reader.variables
    return made


def compare(checkpoint: Checkpoint, reference: dict[str, Any]) -> dict[str, float]:
    """Compute every part; returns the largest difference of each, relative to the largest value."""
    shapes, tokens = checkpoint.shapes, reference["tokens"].astype("int32")
    found: dict[str, float] = {}

    def note(part: str, ours: Any, wanted: Any) -> None:
        found[part] = float(np.abs(np.asarray(ours) - wanted).max() / np.abs(wanted).max())

    vocabulary = checkpoint.vocabulary
    encoder = load(checkpoint, "text_encoder", lambda read: TextEncoder(shapes.text_encoder, vocabulary, read))
    vectors = tf.constant(np.asarray(encoder.table)[-2:])
    # The last two tokens of the table are what a concept's vectors would be.
    tokens = np.where(tokens >= vocabulary - 2, tokens + 2, tokens)
    unet = load(checkpoint, "diffusion_model", lambda read: DiffusionModel(shapes.unet, read))
    embedding = timestep_embedding(tf.constant(reference["times"]), shapes.unet.timestep_width)
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        context = encoder.encode_with_placeholders(tf.constant(tokens), vectors)
        predicted = unet([tf.constant(reference["latent"]), embedding, context])
        loss = tf.reduce_mean(tf.square(predicted))
    note("text encoder", context, reference["context"])
    note("UNet", predicted, reference["predicted"])
    note("gradient of the vectors", tf.convert_to_tensor(tape.gradient(loss, vectors)), reference["gradient"])
    del unet, encoder, tape
    gc.collect()
    images = load(checkpoint, "image_encoder", lambda read: ImageEncoder(shapes.image_encoder, read))
    note("VAE encoder", images(tf.constant(reference["picture"])), reference["moments"])
    size = reference["latent"].shape[1]
    decoder = load(checkpoint, "decoder", lambda read: Decoder(shapes.decoder, read))
    note("VAE decoder", decoder(tf.constant(reference["latent"][:1, : size // 2, : size // 2])), reference["decoded"])
    return found


def _record(folder: Path, into: Path) -> None:
    """Keep what the tests compare with: names and shapes of all tensors, the configurations, and the results."""
    into.mkdir(parents=True, exist_ok=True)
    names = json.loads((folder / "request.json").read_text())["names"]
    document: dict[str, Any] = {"shapes": json.loads((folder / "shapes.json").read_text()), "names": names}
    configs = [*folder.glob("diffusers/*/*config.json"), folder / "diffusers" / "model_index.json"]
    document["configs"] = {
        path.relative_to(folder / "diffusers").as_posix(): json.loads(path.read_text()) for path in sorted(configs)
    }
    (into / "names.json.gz").write_bytes(gzip.compress(json.dumps(document, sort_keys=True).encode(), mtime=0))
    shutil.copy(folder / "reference.safetensors", into)


def memory_of_load(path: Path) -> dict[str, Any]:
    """Measure the memory that loading a checkpoint takes, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.load_memory", str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def results(
    peers: str, size: str, record: Path | None = None, kinds: Sequence[str] = KINDS, formats: Sequence[str] = NUMBERS
) -> Iterator[dict[str, Any]]:
    """Write, read and compare each checkpoint."""
    for kind in kinds:
        for numbers in formats:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                write(peers, folder, kind, numbers, size)
                if record and numbers == "float32":
                    _record(folder, record / kind)
                reference = load_file(folder / "reference.safetensors")
                for path in (folder / "diffusers", folder / "single.safetensors"):
                    start = time.monotonic()
                    checkpoint = open_checkpoint(path)
                    looked = time.monotonic() - start
                    found = compare(checkpoint, reference)
                    yield {
                        "kind": checkpoint.kind, "prediction": checkpoint.prediction, "layout": checkpoint.layout,
                        "numbers": numbers, "seconds to look over": round(looked, 3),
                        "seconds in all": round(time.monotonic() - start, 2),
                        "relative": {part: float(f"{value:.2g}") for part, value in found.items()},
                        "memory": memory_of_load(path),
                    }  # fmt: skip
                    gc.collect()


def main() -> None:
    """Compare and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--peers", required=True, help="Python of an environment with torch, diffusers, transformers")
    parser.add_argument("--full", action="store_true", help="the published sizes; 10 minutes, 14 GB")
    parser.add_argument("--record", type=Path, help="folder to write what tests/trainer/test_checkpoints.py reads")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind; may be repeated")
    parser.add_argument("--numbers", choices=NUMBERS, action="append", help="only this number format")
    options = parser.parse_args()
    size = "full" if options.full else "small"
    found = list(results(options.peers, size, options.record, options.kind or KINDS, options.numbers or NUMBERS))
    worst = max(value for row in found for value in row["relative"].values())
    print(json.dumps({"size": size, "worst": worst, "checkpoints": found}))


if __name__ == "__main__":
    main()
