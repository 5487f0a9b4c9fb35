"""One training from records to the files of a version, as a story: load, encode, train, judge, draw, export."""

from __future__ import annotations

import hashlib
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainer import evaluation, export, objective, suitability, train
from trainer.base_weights import presets
from trainer.base_weights.base_model import BaseModel
from trainer.checkpoint import State
from trainer.cross_fit import cross_fit, groups_to_leave_out
from trainer.data.latents import compile_encoder, encode_views
from trainer.data.pictures import Picture, check_masks, read_pictures, split_held_out
from trainer.journal import Journal
from trainer.loaded_base import LoadedBase
from trainer.metrics import (
    HELD_OUT,
    LEFT_OUT,
    METRICS_FILE,
    ClipScores,
    ImageCounts,
    Sample,
    TrainingMetrics,
    Weights,
    write_metrics,
)
from trainer.models.layers import on_gpu
from trainer.recipe import RECIPE
from trainer.sampling.copies import find_copies
from trainer.sampling.grids import Grids, grid, save_grid
from trainer.training_config import Config, ConfigError

if TYPE_CHECKING:
    from trainer.sampling.clip_scores import Scorer

EXIT_DONE, EXIT_UNUSABLE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 2, 3, 75
_PROGRESS_SAMPLES = 4
Vectors = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Places:
    """Where a training reads and writes.

    `records` is the folder of the pictures, `output` that for what is learned, `base` that of the base model's weights.
    `released` is a file of the released version's vectors that is named after it, as `Released.load` reads it.
    `initial` is a file of the vectors to start from, instead of the initializer's.
    """

    records: Path
    output: Path
    base: Path | None = None
    released: Path | None = None
    initial: Path | None = None


def run(
    config: Config,
    places: Places,
    *,
    unverified: bool = False,
    dtype: str | None = None,
    stop: threading.Event | None = None,
    open_base: Callable[..., LoadedBase] = LoadedBase,
) -> int:
    """Train and write everything. Returns the program's exit code.

    Args:
        config: What to train.
        places: Where from and where to.
        unverified: Take weights that are not the published ones.
        dtype: Of the frozen weights, "bfloat16", "float16" or "float32"; None for the fastest here.
        stop: Ends the training at its next step once it is set; None for a SIGTERM to this process.
        open_base: Called with the arguments of `LoadedBase`.
    """
    if stop is None:
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    places.output.mkdir(parents=True, exist_ok=True)
    try:
        base = open_base(config.base, places.base, unverified=unverified, dtype=dtype)
        journal = Journal(places.output / "progress.jsonl" if base.devices.is_chief else None)
        with closing(journal.summaries):
            _run(config, base, places, journal=journal, stop=stop)
    except (ConfigError, FileNotFoundError, ValueError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return EXIT_UNUSABLE
    except train.TrainingFailed as error:
        print(f"trainer: {error}", file=sys.stderr)
        return EXIT_FAILED
    except train.Interrupted as error:
        journal.write({"event": "interrupted", "message": str(error)})
        return EXIT_INTERRUPTED
    return EXIT_DONE


def check(config: Config, records: Path, base_dir: Path | None) -> int:
    """Say on stderr what cannot be trained with, or not drawn, if anything. Returns the program's exit code."""
    try:
        base = BaseModel(config.base, base_dir, verify_later=True)
        tokenizer = base.tokenizer(config.placeholder_token, config.num_vectors)
        shown = _read(records, config)[: evaluation.PICTURES]
        if base.preset.max_loss is None:
            return EXIT_DONE
        judged = encode_views(shown, compile_encoder(base.image_encoder()), config, evaluation.VIEWS, seed=2)
        unet = base.diffusion_model(config.resolution, config.resolution)
        frozen = objective.Frozen(base.text_encoder(tokenizer.vocabulary), unet, tokenizer)
        if undrawable := suitability.problem(frozen, judged, config):
            raise ConfigError(undrawable)
    except (ConfigError, FileNotFoundError, ValueError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return EXIT_UNUSABLE
    return EXIT_DONE


def _run(config: Config, base: LoadedBase, places: Places, *, journal: Journal, stop: threading.Event) -> None:
    output, devices, model = places.output, base.devices, base.model
    scorer = _scorer(model)
    tokenizer = model.tokenizer(config.placeholder_token, config.num_vectors)
    training, held_out = split_held_out(_read(places.records, config), config)
    # A GPU encodes all views in a second or two; a CPU would take minutes before the first step, so there each waits
    # until it is needed.
    encoder = base.image_encoder()
    latents = encode_views(training, encoder, config, model.preset.views, seed=1, at_once=on_gpu())
    on, shown = (HELD_OUT, held_out) if held_out else ("training images", training[: evaluation.PICTURES])
    judged = encode_views(shown, encoder, config, evaluation.VIEWS, seed=2, at_once=on_gpu())
    del encoder
    frozen = base.frozen(tokenizer)
    model.verify()
    released = evaluation.Released.load(places.released, frozen) if places.released else None
    initial = _initial(places.initial, config, frozen)
    # It is trained all the same, and the gate rejects it: a person may look at what comes of it.
    undrawable = suitability.problem(frozen, judged, config, initial)
    if undrawable:
        journal.write({"event": "undrawable", "message": undrawable})
    journal.phase("start")

    checkpoints = output / "checkpoints"
    grids = Grids(model, frozen, config)

    def draw_progress(state: State) -> None:
        """Encode the held-out views by the first checkpoint; draw a few pictures every `sample_every` steps.

        Those of the last state are drawn as the samples.
        """
        judged.encode()
        due = config.sample_every and state.step % config.sample_every == 0
        if devices.is_chief and due and not train.ended(state, config):
            drawn = grids.draw(state.vectors, min(config.samples, _PROGRESS_SAMPLES))
            save_grid(drawn, checkpoints / f"step-{state.step:06d}.png")
            journal.summaries.picture(state.step, "samples", grid(drawn))

    state, stopped = train.train(
        latents,
        frozen,
        config,
        checkpoints,
        journal.write,
        stop.is_set,
        initial=initial,
        devices=devices,
        at_checkpoint=draw_progress,
    )
    journal.phase("train")
    left_out: Vectors | None = None
    groups = None if held_out else groups_to_leave_out(training, config)
    if groups:
        left_out = cross_fit(
            groups,
            latents,
            frozen,
            config,
            checkpoints / "cross-fit",
            should_stop=stop.is_set,
            initial=initial,
            devices=devices,
        )
        journal.phase("cross-fit")
    if not devices.is_chief:
        devices.wait()
        return

    embeds = output / "learned_embeds.safetensors"
    export.learned_embeds(embeds, config.placeholder_token, state.vectors)
    # Beside a GPU it is written on the CPU meanwhile; a CPU would only have two things to do at once.
    elsewhere = on_gpu() or devices.replicas > 1
    exporting = export.start(model.preset, model.base_dir, embeds, output / "text_encoder") if elsewhere else None

    losses = evaluation.evaluate(frozen, judged, config, state.vectors, on=on, released=released, initial=initial)
    if left_out is not None and not evaluation.is_rejected(losses, config):
        losses = evaluation.evaluate(
            frozen, judged, config, left_out[: evaluation.PICTURES], on=LEFT_OUT, released=released, initial=initial
        )
    journal.phase("evaluate")

    start = objective.initial_vectors(config, frozen) if initial is None else initial
    samples, drawn = _draw_samples(grids, config, start, state.vectors, output / "samples")
    journal.summaries.picture(state.step, "samples", grid(drawn["trained"]))
    curves = {"held-out loss": losses.trained, "held-out loss/initializer": losses.initializer}
    journal.summaries.scalars(state.step, {name: loss for name, loss in curves.items() if loss is not None})
    copies = find_copies(list(drawn["trained"]), training)
    journal.phase("samples")

    scores: dict[str, ClipScores] = {}
    if scorer:
        # The UNet has drawn its last picture, and CLIP takes half as much memory.
        base.free_diffusion_model()
        scores["clip"] = scorer.score(drawn, shown, on, config)
        journal.summaries.scalars(state.step, scorer.curves(scores["clip"]))
        journal.phase("clip")

    if exporting is None:
        exporting = export.write_here(model, embeds, output / "text_encoder", frozen.text_encoder)
    if exporting is not None:
        export.finish(exporting)
    journal.phase("export")

    metrics = TrainingMetrics(
        recipe=RECIPE,
        base_model=config.base_model,
        steps=state.step,
        stopped=stopped,
        loss=losses,
        undrawable=undrawable,
        **scores,
        images=ImageCounts(train=len(training), held_out=len(held_out)),
        seconds=journal.seconds,
        samples=samples,
        copies=copies,
        device="GPU" if on_gpu() else "CPU",
        replicas=devices.replicas,
        weights=Weights(dtype=model.dtype, verified=not model.unverified),
        files=digests(output),
    )
    write_metrics(output / METRICS_FILE, metrics)
    devices.wait()


def _read(records: Path, config: Config) -> list[Picture]:
    """Read the pictures. Raises ConfigError where there are none, or no masks although these are asked for."""
    found = read_pictures(records)
    check_masks(found, config)
    return found


def _initial(path: Path | None, config: Config, frozen: objective.Frozen) -> Vectors | None:
    """Read the vectors to start from, if they are given. Raises ConfigError where they do not fit."""
    if path is None:
        return None
    vectors = objective.read_vectors(path, "--initial", frozen)
    if len(vectors) != config.num_vectors:
        raise ConfigError(f"--initial {path} holds {len(vectors)} vectors, and num_vectors is {config.num_vectors}")
    return vectors


def digests(output: Path) -> dict[str, str]:
    """Hash every result, sha256 by path, so that a task that downloads them can tell whether they arrived whole."""
    folders = (output / name for name in ("text_encoder", "samples"))
    results = [output / "learned_embeds.safetensors", *(path for folder in folders for path in folder.rglob("*"))]
    found = {}
    for path in sorted(path for path in results if path.is_file()):
        with path.open("rb") as stream:
            found[path.relative_to(output).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def _scorer(base: BaseModel) -> Scorer | None:
    """Load CLIP to score samples with, where a folder of its weights lies beside the base model's; else None."""
    folder = presets.clip_folder(base.base_dir)
    if folder is None:
        return None
    from trainer.sampling import clip_scores

    return clip_scores.load(folder, base)


def _draw_samples(
    grids: Grids, config: Config, initial: Vectors, learned: Vectors, folder: Path
) -> tuple[tuple[Sample, ...], dict[str, Pixels]]:
    """Draw the same seeds before and after, as grids and single pictures; returns the latter's list and all pixels."""
    before = grids.draw(initial, config.samples)
    save_grid(before, folder / "initializer.png")
    drawn = grids.draw(learned, config.samples)
    save_grid(drawn, folder / "grid.png")
    samples = []
    for index, pixels in enumerate(drawn):
        name = f"samples/{index}.png"
        Image.fromarray(pixels).save(folder / f"{index}.png")
        samples.append(Sample(file=name, prompt=grids.prompt, seed=config.seed + index))
    return tuple(samples), {"initializer": before, "trained": drawn}
