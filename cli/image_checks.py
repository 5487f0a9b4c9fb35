"""Check of a concept's images before anything is pushed: by `conceptry new` and `conceptry lint` alike."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from conceptry.concept import ConceptSpec
from conceptry.errors import ConceptryError
from conceptry.fingerprint import trainer_config, training_keys
from tasks import records, training
from tasks.file_io import write_atomically
from tasks.records import RecordsReport
from tasks.training.local_trainer import check_images

Level = Literal["error", "warning"]


def kept(
    place: Path, name: str, spec: ConceptSpec, images: Path, *, base_dir: Path | None, images_md5: str | None
) -> Sequence[tuple[Level, str]]:
    """Return what `check` found, as levels and words, from `place` if the same images were checked there before.

    Args:
        place: Folder of earlier results.
        name: Name of the concept.
        spec: Its concept.yaml.
        images: Folder of its images.
        base_dir: Folder of base model weights.
        images_md5: md5 of the images in DVC; None if they are not tracked, and then nothing is kept.
    """
    keys = training_keys(spec, training.base_model(spec.base_model))
    digest = hashlib.sha256(json.dumps([images_md5, keys], sort_keys=True).encode()).hexdigest()
    file = place / f"{digest[:32]}.json"
    if images_md5 and file.is_file():
        return [(level, message) for level, message in json.loads(file.read_bytes())]
    found: list[tuple[Level, str]] = []
    try:
        report, wanted = check(name, spec, images, base_dir), spec.training.held_out
        found += [("warning", message) for message in report.warnings]
        if not report.held_out(wanted):
            found.append(("warning", report.judged_by(wanted)))
    except ConceptryError as error:
        found.append(("error", str(error)))
        if error.retryable or getattr(error, "exit_code", None) is not None:
            return found  # the trainer was killed or crashed, which says nothing about the images
    if images_md5:
        write_atomically(file, json.dumps(found).encode())
    return found


def check(name: str, spec: ConceptSpec, images: Path, base_dir: Path | None) -> RecordsReport:
    """Make the records that a training would read, and check that the base model can draw such images.

    Args:
        name: Name of the concept.
        spec: Its concept.yaml.
        images: Folder of its images.
        base_dir: Folder of base model weights.

    Returns:
        How many images there are, and warnings about single ones.

    Raises:
        ImageError: there is no image, or some cannot be used; one message names all of them.
        TrainingError: the base model cannot draw such images.
    """
    resolution = spec.resolution or training.base_model(spec.base_model).resolution
    with tempfile.TemporaryDirectory(prefix="conceptry-images-") as folder:
        made = Path(folder) / "records"
        report = records.build_records(images, made, resolution)
        config = trainer_config(spec)
        if spec.initial_version is not None:  # its words are known to the Hub only
            config["initializer_token"] = spec.learnable_property
        check_images(name, made, config, base_dir)
    return report
