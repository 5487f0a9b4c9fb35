"""DreamBench's figures (Ruiz et al. 2023) for our tokens: CLIP-I, CLIP-T and DINO over subjects and prompts.

    python -m benchmarks.photographs --data ../shared/data/dreambooth --keep FOLDER --json \\
        --base-model sd-v1-4 --base DIR --clip DIR --dino DIR --peers PYTHON

Without a GPU this takes days at full size; `--subjects`, `--prompts`, `--images`, `--max-steps`, `--resolution` and
`--sampling-steps` make it small. It resumes: a training goes on from its checkpoint and a picture that is in --keep is
not drawn again. A training takes all of a subject's photographs, as DreamBench does; the prompts are those of its list,
with the token in place of token and class.

- CLIP-I and DINO: mean cosine over all pairs of a drawn picture and a photograph of the subject, by CLIP's image tower
  and by DINO's ViT-S/16. The published rows are of CLIP ViT-B/32; from another CLIP model they do not compare.
- CLIP-T: mean cosine of a drawn picture and its prompt with the class in place of the token.

--clip is a folder as transformers saves a CLIP model, with bpe_simple_vocab_16e6.txt.gz in it or in --base. --dino and
--peers (the Python of an environment with torch and transformers) go together; what is left out is not computed. With
random weights (benchmarks.full_size) or on `tiny`, which cannot draw photographs, the figures only show that all of it
runs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
from PIL import Image

from tasks.records import build_records
from trainer import objective, train, training_config
from trainer.base_weights.base_model import BaseModel
from trainer.data.latents import compile_encoder, encode_views
from trainer.data.pictures import read_pictures
from trainer.data.tokenizer import Tokenizer
from trainer.sampling import clip_scores
from trainer.sampling.sampler import Pipeline

PUBLISHED = {
    "real images": {"CLIP-I": 0.885, "DINO": 0.774},
    "DreamBooth, Imagen": {"CLIP-I": 0.812, "DINO": 0.696, "CLIP-T": 0.306},
    "DreamBooth, Stable Diffusion": {"CLIP-I": 0.803, "DINO": 0.668, "CLIP-T": 0.305},
    "Textual Inversion, Stable Diffusion": {"CLIP-I": 0.780, "DINO": 0.569, "CLIP-T": 0.255},
}
"""Table 1 of Ruiz et al. 2023."""
PROMPTS = "prompts_and_classes.txt"
LIVE = ("cat", "dog")
TOKEN = "<x>"
Vectors = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """A subject's folder of photographs, its class, and the prompts of its kind with `{}` for token or class."""

    name: str
    folder: Path
    class_name: str
    prompts: tuple[str, ...]


def subjects(data: Path) -> list[Subject]:
    """Read the subjects that are in a folder of the DreamBooth set, with their classes and prompts."""
    text = (data / PROMPTS).read_text(encoding="utf-8")
    classes = dict(re.findall(r"^(\w+),([\w ]+)$", text, re.MULTILINE))
    lists = [re.findall(r"'(.+?)'\.format", part) for part in text.split("prompt_list")[1:]]
    kinds = [tuple(prompt.replace("{0} {1}", "{}") for prompt in prompts) for prompts in lists]
    if len(kinds) != 2 or not all(kinds):
        raise SystemExit(f"{data / PROMPTS} holds no two lists of prompts: it is not that of the DreamBooth set")
    return [
        Subject(folder.name, folder, classes[folder.name], kinds[classes[folder.name] in LIVE])
        for folder in sorted(data.iterdir())
        if folder.is_dir() and folder.name in classes
    ]


class Bench:
    """The base model and the models that pictures are compared with."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.base = BaseModel(options.base_model, options.base, verify_later=True, unverified=options.unverified)
        self.resolution = options.resolution or self.base.preset.resolution
        tokenizer = self.base.tokenizer(TOKEN)
        self.frozen = objective.Frozen(
            self.base.text_encoder(tokenizer.vocabulary),
            self.base.diffusion_model(self.resolution, self.resolution),
            tokenizer,
        )
        self.scorer = clip_scores.load(options.clip, self.base) if options.clip else None

    def learn(self, subject: Subject, folder: Path) -> objective.Array:
        """Train the token of a subject, from its checkpoint if there is one."""
        config = training_config.parse(
            {
                "placeholder_token": TOKEN,
                "initializer_token": subject.class_name,
                "base_model": self.base.name,
                "resolution": self.resolution,
                "training": {"max_steps": self.options.max_steps, "held_out": 0},
            }
        )
        records = folder / "records"
        if not records.is_dir():
            build_records(subject.folder, records, self.resolution)
        encoder = compile_encoder(self.base.image_encoder())
        latents = encode_views(read_pictures(records), encoder, config, self.base.preset.views, seed=1, at_once=False)

        def report(line: Mapping[str, Any]) -> None:
            print(json.dumps({"subject": subject.name, **line}), file=sys.stderr, flush=True)

        return train.train(latents, self.frozen, config, folder / "checkpoints", report)[0].vectors

    def draw(self, subject: Subject, vectors: objective.Array, folder: Path) -> dict[str, list[Path]]:
        """Draw the pictures of each prompt that are not there yet; returns all paths, by prompt."""
        encode = self.frozen.text_encoder.encode_with_placeholders
        pipeline = Pipeline(
            self.base,
            self.frozen.tokenizer,
            lambda tokens: encode(tokens, vectors),
            resolution=self.resolution,
            diffusion_model=self.frozen.diffusion_model,
        )
        drawn: dict[str, list[Path]] = {}
        for number, prompt in enumerate(subject.prompts[: self.options.prompts]):
            for seed in range(self.options.images):
                path = folder / f"{number:02d}-{seed}.png"
                drawn.setdefault(prompt, []).append(path)
                if not path.is_file():
                    (pixels,) = pipeline.draw(
                        prompt.format(TOKEN), num_images=1, seed=seed, steps=self.options.sampling_steps
                    )
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(path.with_suffix(".partial"), "PNG")
                    path.with_suffix(".partial").replace(path)
        return drawn

    def scores(self, subject: Subject, drawn: Mapping[str, list[Path]]) -> dict[str, float]:
        """Compute the figures of one subject."""
        photographs = sorted(
            path for path in subject.folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")
        )
        pictures = [path for paths in drawn.values() for path in paths]
        found: dict[str, float] = {}
        if self.scorer:
            images = self.scorer.clip.images([read(path) for path in pictures])
            found["CLIP-I"] = cosine(images, self.scorer.clip.images([read(path) for path in photographs]))
            if self.scorer.tokenizer:
                found["CLIP-T"] = float(
                    np.mean(list(self._text_cosines(self.scorer.tokenizer, subject, drawn, images)))
                )
        if self.options.dino:
            vectors = self._dino([*pictures, *photographs])
            found["DINO"] = cosine(vectors[: len(pictures)], vectors[len(pictures) :])
        return {name: round(value, 4) for name, value in found.items()}

    def _text_cosines(
        self, tokenizer: Tokenizer, subject: Subject, drawn: Mapping[str, list[Path]], images: objective.Array
    ) -> Iterator[float]:
        assert self.scorer is not None
        texts = self.scorer.clip.texts(tokenizer.rows([prompt.format(subject.class_name) for prompt in drawn]))
        start = 0
        for text, paths in zip(texts, drawn.values(), strict=True):
            yield from map(float, images[start : start + len(paths)] @ text)
            start += len(paths)

    def _dino(self, paths: Sequence[Path]) -> Vectors:
        script = Path(__file__).parent / "peers" / "dino_vectors.py"
        done = subprocess.run(
            [self.options.peers, str(script), str(self.options.dino)],
            input="\n".join(map(str, paths)), stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        vectors = json.loads(done.stdout)
        return np.asarray([vectors[str(path)] for path in paths])


def cosine(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> float:
    """Compute the mean cosine over all pairs of rows, (M, D) and (N, D)."""
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (ours, theirs)]
    return float((units[0] @ units[1].T).mean(dtype="float64"))


def read(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture, uint8 (H, W, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--data", type=Path, required=True, help=f"folder of subjects, with {PROMPTS}")
    parser.add_argument("--keep", type=Path, required=True, help="folder for checkpoints and pictures, to resume from")
    parser.add_argument("--base-model", default="sd-v1-4", help="preset to train on")
    parser.add_argument("--base", type=Path, help="folder of its weights")
    parser.add_argument("--unverified", action="store_true", help="take other weights than the published ones")
    parser.add_argument("--clip", type=Path, help="folder of a CLIP model")
    parser.add_argument("--dino", type=Path, help="folder of DINO's ViT-S/16; without a model in it, random weights")
    parser.add_argument("--peers", help="Python of an environment with torch and transformers, for --dino")
    parser.add_argument("--subjects", type=int, help="how many; all without it")
    parser.add_argument("--prompts", type=int, default=25, help="how many of the 25")
    parser.add_argument("--images", type=int, default=4, help="pictures of each prompt")
    parser.add_argument("--max-steps", type=int, help="steps of a training; the preset's without it")
    parser.add_argument("--resolution", type=int, help="of pictures; the preset's without it")
    parser.add_argument("--sampling-steps", type=int, help="steps of drawing; the preset's without it")
    options = parser.parse_args()
    if bool(options.dino) != bool(options.peers):
        parser.error("--dino and --peers go together")
    return options


def main() -> None:
    """Train, draw and score every subject, and print one JSON object; progress goes to stderr."""
    options, started = arguments(), time.monotonic()
    bench = Bench(options)
    rows = {}
    for subject in subjects(options.data)[: options.subjects]:
        folder = options.keep / subject.name
        drawn = bench.draw(subject, bench.learn(subject, folder), folder / "pictures")
        rows[subject.name] = bench.scores(subject, drawn)
        print(json.dumps({subject.name: rows[subject.name]}), file=sys.stderr, flush=True)
    names = sorted({name for row in rows.values() for name in row})
    ours = {name: round(mean(row[name] for row in rows.values()), 4) for name in names}
    about = {name: str(value) for name, value in vars(options).items() if value}
    reduced = ("subjects", "max_steps", "resolution", "sampling_steps", "unverified")
    whole = not any(about.get(name) for name in reduced) and (options.prompts, options.images) == (25, 4)
    result = {
        "comparable": whole and options.base_model != "tiny",
        "ours": ours,
        "published": PUBLISHED,
        "subjects": rows,
        "options": about,
    }
    print(json.dumps(result | {"minutes": round((time.monotonic() - started) / 60, 1)}, indent=2))


if __name__ == "__main__":
    main()
