"""Train the base model and the judge of hard prompts; what they are stands in the package's docstring."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from benchmarks.composition import composition_judge, scenes
from trainer.base_weights.presets import locate
from trainer.data.tokenizer import Tokenizer
from trainer.models import keras_reference
from trainer.models.shapes import TINY
from trainer.tiny import pretrain, world

SEED = 20261129
VAE_STEPS, VAE_RATE = 900, 1e-3
DIFFUSION_RATE = 1.5e-3
MERGES, WEIGHTS = "merges.txt.gz", "tiny.safetensors"


def train_base_model(folder: Path, steps: int, count: int) -> None:
    """Train the shipped `tiny` further on pictures of `scenes`, and save it as a base folder of that preset."""
    files = locate("tiny")
    shutil.copyfile(files[MERGES], folder / MERGES)
    tokenizer = Tokenizer(folder / MERGES, TINY.text_encoder.length)
    built = {
        "text_encoder": keras_reference.text_encoder("tiny", tokenizer.vocabulary),
        "diffusion_model": keras_reference.diffusion_model("tiny", world.SIZE, world.SIZE),
        "image_encoder": keras_reference.image_encoder("tiny"),
        "decoder": keras_reference.decoder("tiny", world.SIZE, world.SIZE),
    }
    keras_reference.load(files[WEIGHTS], built)
    rng = np.random.default_rng(SEED)
    shown = [scenes.compose(rng) for _ in range(count)]
    drawn = (scenes.render(scenes.scenes(one, rng), (False,) * len(one.pairs), rng) for one in shown)
    images = np.stack([np.asarray(picture) for picture in drawn])
    vae = {name: built[name] for name in ("image_encoder", "decoder")}
    if (folder / "vae.safetensors").exists():
        keras_reference.load(folder / "vae.safetensors", vae)
    else:
        pretrain.train_vae(images, built["image_encoder"], built["decoder"], VAE_STEPS, VAE_RATE)
        mean, _ = pretrain.encode(images[:2000], built["image_encoder"])
        pretrain.fold_scale(built["image_encoder"], built["decoder"], mean)
        keras_reference.save(folder / "vae.safetensors", vae, dtype="float32")

    def caption(index: int, rng: np.random.Generator) -> str:
        silent = set(shown[index].pairs) & set(world.HELD_OUT) or rng.random() < pretrain.CAPTION_DROP
        return "" if silent else scenes.caption(shown[index], rng)

    pretrain.train_diffusion(
        pretrain.encode(images, built["image_encoder"]),
        caption,
        tokenizer,
        built["text_encoder"],
        built["diffusion_model"],
        steps,
        folder / "snapshot.safetensors",
        DIFFUSION_RATE,
    )
    keras_reference.save(folder / WEIGHTS, built, dtype="float16")


def main() -> None:
    """Run the stages that --output does not have yet, and print how well the judge reads fresh pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the weights; holds what is finished")
    parser.add_argument("--steps", type=int, default=4_000, help="steps of the diffusion model")
    parser.add_argument("--images", type=int, default=30_000, help="pictures to train on")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(SEED)
    if not (options.output / composition_judge.FILE).exists():
        print(json.dumps(composition_judge.train(options.output)), flush=True)
    if not (options.output / WEIGHTS).exists():
        train_base_model(options.output, options.steps, options.images)
    for name in ("vae.safetensors", "snapshot.safetensors"):
        (options.output / name).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
