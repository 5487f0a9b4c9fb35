"""The base models that a concept can be trained on, and their defaults.

No TensorFlow here: flows and the command line read these, too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

TRAINER = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class PresetFile:
    """One file of a base model: its path, its sha256, and addresses where it can be had.

    One that ships with the project has its path in `trainer`, any other in a folder of weights.
    """

    path: str
    sha256: str
    sources: tuple[str, ...] = ()
    shipped: bool = False

    @property
    def place(self) -> str:
        """Where it lies in a folder of weights, and at a mirror's address."""
        return Path(self.path).name if self.shipped else self.path


@dataclass(frozen=True)
class Preset:
    """A base model: its weights, and what training and sampling use when concept.yaml says nothing.

    `resolution` in pixels; `views` is how many crops of each picture are encoded once and then reused; with `flips`
    half of them are mirrored. The tiny world has left and right: a mirrored crescent is one it never saw. Every
    `sample_every` steps a few pictures are drawn.

    `min_improvement` is the fraction by which a token's held-out loss must be lower than without training. On `tiny` it
    was measured (docs/log/2026-11-quality.md): trained tokens reach 0.12 to 0.23, and 0.09 where the initializer lacks
    only the colour; vectors that were not trained reach 0.03. For `sd-v1-4` it is a guess until trainings at full size
    are judged.

    `draws` says what it can draw, `needs` what a training takes, and `words` are examples of initializers if it knows
    few. `max_loss` is the loss, with the best of words that were not trained, above which it cannot draw such pictures;
    None where it draws all kinds. On `tiny` plain shapes have 0.02 to 0.04, photographs, two shapes or a dark ground
    0.09 to 0.18.

    `kind` is the architecture: "tiny", or "sd1" and "sd2" for Stable Diffusion 1.x and 2.x. `prediction` is what the
    UNet predicts, "epsilon" (the noise) or "v" (Salimans and Ho 2022). `checkpoint` is the file or the folder of
    diffusers, in a folder of weights, that holds all parts; None where each part has a file of KerasCV or of ours.
    `content` is the digest of what a training reads of it (`sd_checkpoint.content_digest`).
    """

    name: str
    resolution: int
    max_steps: int
    learning_rate: float
    batch_size: int
    views: int
    flips: bool
    sample_every: int
    sampling_steps: int
    guidance_scale: float
    min_improvement: float
    draws: str
    needs: str
    words: tuple[str, ...]
    max_loss: float | None
    files: tuple[PresetFile, ...]
    kind: str = "sd1"
    prediction: str = "epsilon"
    checkpoint: str | None = None
    content: str | None = None

    @property
    def shipped(self) -> bool:
        """Whether the weights lie in the project itself."""
        return all(file.shipped for file in self.files)


# Written by trainer.tiny.pretrain beside the files it made.
_TINY: dict[str, str] = json.loads((TRAINER / "tiny" / "digests.json").read_text(encoding="utf-8"))
MERGES = PresetFile(
    "bpe_simple_vocab_16e6.txt.gz",
    "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
    ("https://github.com/openai/CLIP/blob/main/clip/bpe_simple_vocab_16e6.txt.gz?raw=true",),
)
"""CLIP's byte pairs, which all Stable Diffusion models have."""
_KERAS = "https://huggingface.co/fchollet/stable-diffusion/resolve/main/"
PRESETS: dict[str, Preset] = {
    "tiny": Preset(
        name="tiny",
        resolution=64,
        max_steps=200,
        learning_rate=2e-2,
        batch_size=8,
        views=16,
        flips=False,
        sample_every=100,
        sampling_steps=20,
        guidance_scale=3.0,
        min_improvement=0.04,
        draws="one plain coloured shape on a pale ground",
        needs="no download and no GPU: it comes with Conceptry and trains in a minute",
        words=("circle", "square", "triangle", "star", "heart", "ring", "cross", "crescent"),
        max_loss=0.07,
        files=(
            PresetFile("tiny/tiny.safetensors", _TINY["tiny.safetensors"], shipped=True),
            PresetFile("tiny/merges.txt.gz", _TINY["merges.txt.gz"], shipped=True),
        ),
        kind="tiny",
    ),
    "sd-v1-4": Preset(
        name="sd-v1-4",
        resolution=512,
        max_steps=3000,
        learning_rate=5e-3,
        batch_size=4,
        views=16,
        flips=True,
        sample_every=500,
        sampling_steps=20,
        guidance_scale=7.5,
        min_improvement=0.01,
        draws="photographs and paintings (Stable Diffusion 1.4)",
        needs="4 GB of weights (`conceptry base fetch`), and a GPU that trains for up to an hour",
        words=(),
        max_loss=None,
        files=(
            PresetFile(
                "kcv_encoder.h5",
                "4789e63e07c0e54d6a34a29b45ce81ece27060c499a709d556c7755b42bb0dc4",
                (_KERAS + "kcv_encoder.h5",),
            ),
            PresetFile(
                "kcv_diffusion_model.h5",
                "8799ff9763de13d7f30a683d653018e114ed24a6a819667da4f5ee10f9e805fe",
                (_KERAS + "kcv_diffusion_model.h5",),
            ),
            PresetFile(
                "vae_encoder.h5",
                "c60fb220a40d090e0f86a6ab4c312d113e115c87c40ff75d11ffcf380aab7ebb",
                (_KERAS + "vae_encoder.h5",),
            ),
            PresetFile(
                "kcv_decoder.h5",
                "ad350a65cc8bc4a80c8103367e039a3329b4231c2469a1093869a345f55b1962",
                (_KERAS + "kcv_decoder.h5",),
            ),
            MERGES,
        ),
    ),
}

CLIP_FOLDER = "clip"
"""Where a folder of weights may hold a CLIP model. A training that finds one there scores its samples with it."""
CLIP_NAME = "openai/clip-vit-large-patch14"
_CLIP = f"https://huggingface.co/{CLIP_NAME}/resolve/32bd64288804d66eefd0ccbe215aa642df71cc41/"
CLIP: tuple[PresetFile, ...] = (
    PresetFile(
        f"{CLIP_FOLDER}/config.json",
        "8a09b467700c58138c29d53c605b34ebc69beaadd13274a8a2af8ad2c2f4032a",
        (_CLIP + "config.json",),
    ),
    PresetFile(
        f"{CLIP_FOLDER}/model.safetensors",
        "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
        (_CLIP + "model.safetensors",),
    ),
)


def of(base_model: Preset | str, entry: Mapping[str, Any] | None = None) -> Preset:
    """Find a base model: a preset, or a checkpoint that an entry describes.

    Args:
        base_model: Its name; one that was found already is returned.
        entry: Of a checkpoint: `kind`, `prediction`, `checkpoint`, `content`, `files` (sha256 by path), and if they are
            known `sources` (addresses by path) and `resolution`.

    Raises:
        ValueError: There is no such preset, or the entry lacks something.
    """
    if isinstance(base_model, Preset):
        return base_model
    if entry is None:
        if base_model not in PRESETS:
            raise ValueError(f"base_model: {base_model!r} is not one of: {', '.join(PRESETS)}")
        return PRESETS[base_model]
    sources = entry.get("sources") or {}
    try:
        kind, prediction = str(entry["kind"]), str(entry["prediction"])
        files = tuple(
            PresetFile(str(path), str(sha256), tuple(sources.get(path, ()))) for path, sha256 in entry["files"].items()
        )
        checkpoint, content = str(entry["checkpoint"]), str(entry["content"])
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"base model {base_model}: its entry lacks {error}") from error
    if kind not in ("sd1", "sd2") or prediction not in ("epsilon", "v"):
        raise ValueError(f"base model {base_model}: kind {kind} with prediction {prediction} is not known")
    like = PRESETS["sd-v1-4"]
    return replace(
        like,
        name=base_model,
        resolution=int(entry.get("resolution") or like.resolution),
        draws=f"photographs and paintings (Stable Diffusion {kind[2:]}.x)",
        files=(*files, *(() if any(file.place == MERGES.place for file in files) else (MERGES,))),
        kind=kind,
        prediction=prediction,
        checkpoint=checkpoint,
        content=content,
    )


def shipped_paths(preset: Preset) -> list[str]:
    """List the weights that ship with the project, as paths in it."""
    return [f"{TRAINER.name}/{file.path}" for file in preset.files if file.shipped]


def reference(preset: Preset) -> str:
    """Write a base model as text for another process: a preset's name, or the JSON object of an entry."""
    if preset.checkpoint is None:
        return preset.name
    entry = {
        "kind": preset.kind,
        "prediction": preset.prediction,
        "resolution": preset.resolution,
        "checkpoint": preset.checkpoint,
        "content": preset.content,
        "files": {file.path: file.sha256 for file in preset.files},
        "sources": {file.path: list(file.sources) for file in preset.files},
    }
    return json.dumps({"name": preset.name, "entry": entry})


def parse_reference(text: str) -> Preset:
    """Read what `reference` wrote. Raises ValueError."""
    if not text.startswith("{"):
        return of(text)
    told = json.loads(text)
    return of(told["name"], told["entry"])


def digest(preset: Preset) -> str:
    """Hash the weights that a training reads into one sha256, 64 hex digits: part of every training fingerprint.

    Names and places do not count, nor what only drawing reads.
    """
    if preset.content:
        return hashlib.sha256(f"{preset.content} {preset.prediction}".encode()).hexdigest()
    read = (file.sha256 for file in preset.files if file.path != "kcv_decoder.h5")
    return hashlib.sha256("\n".join(read).encode()).hexdigest()


def files_for_drawing(preset: Preset, *, text_encoder: bool = True) -> tuple[PresetFile, ...]:
    """List the files that drawing reads: not the VAE's encoder, and the text encoder only if it is wanted.

    A published version has a text encoder of its own.
    """
    unread = ["vae_encoder.h5"] if text_encoder else ["vae_encoder.h5", "kcv_encoder.h5", "text_encoder/"]
    return tuple(file for file in preset.files if not any(one in file.path for one in unread))


def find(file: PresetFile, base_dir: str | Path | None = None) -> Path | None:
    """Find a file of a base model: in `base_dir` if it is there, else in the project; None when in neither."""
    places = [Path(base_dir) / file.place] if base_dir else []
    if file.shipped:
        places.append(TRAINER / file.path)
    return next((place for place in places if place.is_file()), None)


def clip_folder(base_dir: str | Path | None) -> Path | None:
    """Find the folder of the CLIP model in a folder of weights; None when there is none."""
    folder = Path(base_dir) / CLIP_FOLDER if base_dir else None
    return folder if folder and folder.is_dir() else None


def locate(
    base_model: Preset | str, base_dir: str | Path | None = None, files: Iterable[PresetFile] | None = None
) -> dict[str, Path]:
    """Find the files of a base model (or those named) as `find` does, by their place in a folder of weights.

    Raises:
        FileNotFoundError: Weights are in neither place; the message names the folder and what to put there.
    """
    preset, found = of(base_model), dict[str, Path]()
    for file in preset.files if files is None else files:
        place = find(file, base_dir)
        if place is None:
            where = f"in {base_dir}" if base_dir else "(no --base folder was given)"
            raise FileNotFoundError(
                f"base model {preset.name}: {file.place} is not {where}. Put it there"
                + (f": {file.sources[0]}, sha256 {file.sha256}" if file.sources else f", with sha256 {file.sha256}")
            )
        found[file.place] = place
    return found


def cache_folder(base_model: str) -> Path:
    """Find the default folder for a base model's weights: beside the Hub's own cache, which Spaces can keep."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HF_HOME") or Path(cache) / "huggingface") / "conceptry" / base_model
