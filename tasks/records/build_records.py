"""Conversion of a folder of images to a folder of TFRecords, the trainer's input."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from conceptry.errors import ImageError
from conceptry.image_folder import is_junk, pair_captions
from tasks.records.caption_lists import caption_in, read_caption_lists
from tasks.records.crops import crop_note
from tasks.records.duplicates import Print, find_duplicates
from tasks.records.masks import mask_note
from tasks.records.photos import normalise
from trainer.data import records
from trainer.data.held_out import alike_groups, held_out_count

_MAX_CAPTION = 1_000


@dataclass(frozen=True)
class RecordsReport:
    """What a records folder was made of.

    Attributes:
        count: Number of images.
        different: How many of them look different.
        warnings: What is doubtful about single images, a sentence each.
        notes: What is worth knowing about all of them, a sentence each.
    """

    count: int
    different: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def held_out(self, wanted: int | None) -> int:
        """Return how many images a training holds out; `wanted` is `training.held_out`."""
        return held_out_count(self.different, wanted)

    def judged_by(self, wanted: int | None) -> str:
        """Say how many images a training holds out to judge its result by."""
        held_out = self.held_out(wanted)
        alike = f", {self.different} of them different" if self.different < self.count else ""
        images = f"{self.count} image{'s' if self.count > 1 else ''}{alike}"
        if held_out:
            return f"{images}: {held_out} held out to judge the result by, {self.count - held_out} to train on"
        if wanted == 0:
            return f"{images}: none is held out, because training.held_out is 0, so the gate will be undecided"
        if self.different == 2:
            return f"{images}: each is judged by a short training on the other one"
        return f"{images}: nothing to judge the result by, so the gate will be undecided; 2 different ones are needed"

    def is_judged(self, wanted: int | None) -> bool:
        """Whether the gate will have anything to judge by; `wanted` is `training.held_out`."""
        return self.held_out(wanted) > 0 or (wanted != 0 and self.different == 2)


@dataclass(frozen=True)
class _Written:
    """An image that is in the records, its width and height in pixels, and whether part of it is transparent."""

    print: Print
    size: tuple[int, int]
    transparent: bool


@dataclass(frozen=True)
class _Image:
    file: str  # relative to the images folder, with /
    md5: str
    caption: str


def build_records(images_dir: Path, destination: Path, resolution: int, *, mask: str | None = None) -> RecordsReport:
    """Write the images under `images_dir` to TFRecords in `destination`, with a shorter side of `resolution` pixels.

    Records are sorted by the md5 of the image file, so that the same images give the same bytes, whatever their names.
    A text file beside an image (`cat.txt` or `cat.caption` beside `cat.jpg`) is its caption. The folder appears
    complete or not at all, and replaces an older one. With `mask` "alpha" (`training.mask`) the alpha channels are
    stored as masks.

    Raises:
        ImageError: there is no image, some cannot be used, or masks are asked for and none is transparent; one message
            names all of them.
    """
    if not images_dir.is_dir():
        raise ImageError("is not a folder", file=str(images_dir), next_step="pass the folder that contains the images")
    images, warnings = _look_through(images_dir)
    if not images:
        raise ImageError("contains no images", file=str(images_dir), next_step="add some, JPEG or PNG")
    destination.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    try:
        whole = scratch / "new"
        whole.mkdir()
        written = _write(images_dir, images, whole, resolution, warnings=warnings, masked=mask is not None)
        notes = [
            crop_note((one.print.file, *one.size) for one in written),
            mask_note({one.print.file: one.transparent for one in written}, masked=mask is not None),
        ]
        _swap_in(whole, destination, scratch / "old")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    different = len(set(alike_groups([one.print.look for one in written])))
    return RecordsReport(len(images), different, tuple(warnings), tuple(note for note in notes if note))


def _look_through(images_dir: Path) -> tuple[list[_Image], list[str]]:
    """Return the images in the order of their records, and warnings about captions without an image."""
    paths = sorted(path for path in images_dir.rglob("*") if path.is_file())
    files = [path.relative_to(images_dir).as_posix() for path in paths]
    pairs = pair_captions(file for file in files if not is_junk(file))
    listed = read_caption_lists(images_dir, pairs.lists)
    images = []
    for file, caption in pairs.by_image.items():
        md5 = hashlib.md5((images_dir / file).read_bytes(), usedforsecurity=False).hexdigest()
        text = _read_caption(images_dir, caption) if caption else _checked(caption_in(listed, file), file)
        images.append(_Image(file, md5, text))
    warnings = [f"{file}: is a caption without an image of that name; it is not used" for file in pairs.stray]
    return sorted(images, key=lambda image: (image.md5, image.file)), warnings


def _read_caption(images_dir: Path, file: str) -> str:
    try:
        caption = " ".join((images_dir / file).read_text("utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise ImageError("is a caption that is not UTF-8 text", file=file, next_step="save it as UTF-8") from error
    return _checked(caption, file)


def _checked(caption: str, file: str) -> str:
    if len(caption) > _MAX_CAPTION:
        raise ImageError(
            f"is a caption of {len(caption)} characters", file=file, next_step=f"write {_MAX_CAPTION} at most"
        )
    return caption


def _write(
    images_dir: Path, images: Iterable[_Image], folder: Path, resolution: int, *, warnings: list[str], masked: bool
) -> list[_Written]:
    """Write the records and their summary, with one image in memory at a time; add to the warnings."""
    summary: list[Mapping[str, object]] = []
    found: list[str] = []
    errors: list[ImageError] = []
    written: list[_Written] = []

    def rows() -> Iterator[records.Record]:
        for image in images:
            try:
                data = (images_dir / image.file).read_bytes()
                photo = normalise(data, image.file, resolution, masked=masked)
            except ImageError as error:
                errors.append(error)
                continue
            width, height = photo.image.size
            found.extend(f"{image.file}: {warning}" for warning in photo.warnings)
            look = Print.of(photo.image, image.file, image.md5)
            written.append(_Written(look, photo.image.size, photo.opaque is not None))
            summary.append({"file": image.file, "md5": image.md5, "width": width, "height": height})
            mask = photo.mask_png() if masked else b""
            yield records.Record(photo.png(), width, height, image.md5, image.file, image.caption, mask)

    records.write(folder / records.SHARD, rows())
    if errors:
        raise _together(errors)
    found += find_duplicates(one.print for one in written)
    text = json.dumps({"resolution": resolution, "images": summary, "warnings": found}, indent=2, ensure_ascii=False)
    (folder / records.SUMMARY).write_text(f"{text}\n", encoding="utf-8")
    warnings += found
    return written


def _together(errors: list[ImageError]) -> ImageError:
    """Combine several errors into one, so that the user sees all images to correct at once."""
    if len(errors) == 1:
        return errors[0]
    return ImageError("\n".join([f"{len(errors)} images cannot be used:", *sorted(f"  {error}" for error in errors)]))


def _swap_in(whole: Path, destination: Path, aside: Path) -> None:
    """Rename `whole` to `destination` and an existing folder to `aside`; another process may do so at the same time."""
    for _ in range(10):
        try:
            whole.replace(destination)
        except OSError as error:
            # Only that the folder exists: it may be gone again by now, moved by the other process.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
        try:
            destination.replace(aside)
        except FileNotFoundError:
            continue  # the other process has just moved it
        except OSError:
            shutil.rmtree(aside)
    raise OSError(f"{destination} is written by other processes continuously")
