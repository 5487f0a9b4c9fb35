"""Check of a concept's images before anything is trained: by `conceptry new`, `lint` and `plan` alike."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from conceptry.actions import ActionKind, ConceptPlan, Plan
from conceptry.concept import ConceptSpec
from conceptry.desired import Desired, DesiredConcept
from conceptry.errors import ConceptryError, TrainingError, UnexpectedError
from conceptry.fingerprint import trainer_config, training_keys
from conceptry.installation import Installation
from conceptry.isolation import isolate, printable
from conceptry.reasons import ActionReason
from tasks import dvc, training
from tasks.extras import is_installed
from tasks.file_io import write_atomically
from tasks.training.local_trainer import check_images, needs_drawing_check

if TYPE_CHECKING:
    from tasks.records import RecordsReport

Level = Literal["error", "rejected", "warning", "note"]
Found = Sequence[tuple[Level, str]]
"""What was found about the images of one concept: levels and words. "rejected": no version of them can pass."""
_CHECKS = 3
"""Raised when other things are checked, so that what was kept before is not used."""


def hold_unusable(
    plan: Plan, desired: Desired, installation: Installation, told: Callable[[str], None] = lambda _name: None
) -> Plan:
    """Return a plan with a hold for each training whose images cannot be used; its run would fail with the same words.

    Other trainings get the notes about their images, also that the base model cannot draw such, and that the gate
    will reject their version: the watcher trains it all the same.

    The images of trainings are downloaded for that, once: what was found is kept in the scratch folder.

    Args:
        plan: Plan to check.
        desired: Desired state that it was made for.
        installation: Installation, for the DVC remote, base model weights and the scratch folder.
        told: Called with each concept's name before its images are checked.
    """

    def checked(one: ConceptPlan) -> ConceptPlan:
        action, concept = one.training, desired.concepts.get(one.concept)
        # The images of a retraining were trained with before.
        if action.kind is not ActionKind.TRAIN or action.retrain or concept is None or concept.spec is None:
            return one
        told(action.concept)
        look = partial(_look_at, action.concept, concept, concept.spec, desired.revision, installation)
        seen = isolate(action.concept, look, _unexpected)
        action = replace(action, notes=tuple(map(printable, seen.notes)))
        if seen.reason is None:
            return replace(one, training=action)
        held = replace(action, kind=ActionKind.HOLD, reason=seen.reason, cause=printable(seen.problem))
        return replace(one, training=replace(held, health="Degraded", estimate=None, deferred=None, deferral=None))

    return replace(plan, concepts=tuple(checked(one) for one in plan.concepts))


@dataclass(frozen=True)
class _Seen:
    """What a look at a concept's images says of its training: why it is held, if it is, and notes."""

    reason: ActionReason | None = None
    problem: str = ""
    notes: tuple[str, ...] = ()


def _look_at(name: str, concept: DesiredConcept, spec: ConceptSpec, revision: str, installation: Installation) -> _Seen:
    """Return why a concept's images cannot be trained with, if they cannot, and notes about them.

    Raises:
        ConceptryError: they could not be downloaded or checked.
    """

    def fetch(folder: Path) -> Path:
        mirror, md5 = installation.mirror, concept.dvc_md5 or ""
        return dvc.fetch_images(
            mirror,
            revision,
            md5,
            concept.images,
            destination=folder / "images",
            concept=name,
            remote_name=concept.dvc_remote,
        )

    place, base_dir = installation.work.checks, installation.base_dir
    found = kept(place, name, spec, fetch, base_dir=base_dir, images_md5=concept.dvc_md5)
    notes = tuple(message for level, message in found if level in ("note", "rejected"))
    words = [message.removeprefix(f"{name}: ") for level, message in found if level == "error"]
    return _Seen(ActionReason.IMAGES_UNUSABLE, words[0], notes) if words else _Seen(notes=notes)


def _unexpected(error: ConceptryError) -> _Seen:
    """Return the hold for an unexpected error; none for one that the run will tell of, and try again."""
    return _Seen(ActionReason.UNEXPECTED, str(error)) if isinstance(error, UnexpectedError) else _Seen()


def kept(
    place: Path,
    name: str,
    spec: ConceptSpec,
    images: Callable[[Path], Path],
    *,
    base_dir: Path | None,
    images_md5: str | None,
) -> Found:
    """Return what `check` found, as levels and words, from `place` if the same images were checked there before.

    Args:
        place: Folder of earlier results.
        name: Name of the concept.
        spec: Its concept.yaml.
        images: Returns the folder of its images, given a temporary one.
        base_dir: Folder of base model weights.
        images_md5: md5 of the images in DVC; None if they are not tracked, and then nothing is kept.

    Raises:
        ConceptryError: the images could not be had, or the check itself failed.
    """
    keys = training_keys(spec, training.base_of(spec))
    known = [
        _CHECKS,
        images_md5,
        keys,
        *([] if is_drawing_checked(spec) else ["whether they can be drawn is not known"]),
    ]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    file = place / f"{digest[:32]}.json"
    # A damaged file is made again.
    with suppress(OSError, ValueError, TypeError):
        return [(level, message) for level, message in json.loads(file.read_bytes())]
    with tempfile.TemporaryDirectory(prefix="conceptry-images-") as scratch:
        folder = images(Path(scratch))
        found: list[tuple[Level, str]] = []
        try:
            (report, rejected), wanted = check(name, spec, folder, base_dir), spec.training.held_out
            found += [("rejected", rejected)] if rejected else []
            found += [("warning", message) for message in report.warnings]
            found += [("note", message) for message in report.notes]
            if not report.is_judged(wanted):
                found.append(("warning", report.judged_by(wanted)))
        except ConceptryError as error:
            if error.retryable or getattr(error, "exit_code", None) is not None:
                raise  # the trainer was killed or crashed, which says nothing about the images
            found.append(("error", str(error)))
    if images_md5:
        write_atomically(file, json.dumps(found).encode())
    return found


def check(name: str, spec: ConceptSpec, images: Path, base_dir: Path | None) -> tuple[RecordsReport, str | None]:
    """Make the records that a training would read, and check whether the base model can draw such images.

    Args:
        name: Name of the concept.
        spec: Its concept.yaml.
        images: Folder of its images.
        base_dir: Folder of base model weights.

    Returns:
        How many images there are, with warnings about single ones; and why the gate will reject their version, None if
        that is not known. It is no error: another base model can be named without new images.

    Raises:
        ImageError: there is no image, or some cannot be used; one message names all of them.
        TransientError: the check of the base model did not end.
    """
    from tasks import records  # imports Pillow, which a plan without trainings does not need

    resolution = spec.resolution or training.base_of(spec).resolution
    with tempfile.TemporaryDirectory(prefix="conceptry-images-") as folder:
        made = Path(folder) / "records"
        report = records.build_records(images, made, resolution, mask=spec.training.mask)
        config = trainer_config(spec)
        if spec.initial_version is not None:  # its words are known to the Hub only
            config["initializer_token"] = spec.learnable_property
        rejected = None
        if is_drawing_checked(spec):
            try:
                check_images(name, made, config, base_dir)
            except TrainingError as error:
                if error.exit_code is not None:
                    raise
                rejected = f"its version will be rejected: {error.what}"
    return report, rejected


def is_drawing_checked(spec: ConceptSpec) -> bool:
    """Whether `check` says if the base model can draw the images; TensorFlow finds that out if it does not draw all."""
    return is_installed("tensorflow") or not needs_drawing_check(training.preset_of(spec))
