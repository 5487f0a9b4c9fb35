"""Normalisation of one image file from a camera, a scanner or a phone for training.

`normalise` decodes the bytes of a file to an upright RGB image in sRGB whose shorter side has the training resolution.
The trainer crops, not this module. An unusable file raises `ImageError`; a doubtful one gets a warning in words.
"""

from __future__ import annotations

import io
import threading
import warnings
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from conceptry.errors import ImageError
from tasks.records.colours import BROKEN, to_srgb
from tasks.records.heif import register_heif_opener
from tasks.records.transparency import on_ground, opaque_part

# Decoders that run in this process. Pillow has others, some of which start external programs (EPS).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM")
# Pillow's limit for a warning: a quarter of a gigabyte decoded. A small file can declare a far larger size.
MAX_PIXELS = 89_478_485
MAX_REDUCED = 300_000_000
"""Pixels of a JPEG that is decoded at an eighth to half of its size, as phones of 108 and 200 megapixels write."""
MIN_SIDE = 32
# With a larger aspect ratio, an image resized by its shorter side could exceed the memory.
MAX_ASPECT = 8

_PILLOW = threading.Lock()
"""Held while Pillow's limit of pixels, which is global, is another one."""

# ISO base media files name their codec in bytes 8 to 12.
_UNSUPPORTED = {b"qt  ": "QuickTime video", b"isom": "MP4 video", b"mp41": "MP4 video", b"mp42": "MP4 video"}

_DNG_VERSION, _SUBFILE_TYPE, _SUB_IFDS = 50706, 254, 330
"""Tags of TIFF files: https://helpx.adobe.com/camera-raw/digital-negative.html and TIFF 6.0."""
_RAW_STARTS = {b"IIRO": "ORF", b"IIRS": "ORF", b"MMOR": "ORF", b"IIU\0": "RW2", b"FUJI": "RAF", b"FOVb": "X3F"}


@dataclass(frozen=True)
class Photo:
    """Normalised image (mode RGB, no metadata), warnings about it, and what its alpha channel shows.

    `opaque` (mode L, the size of the image) is 255 where it is opaque; None if nothing is transparent.
    """

    image: Image.Image
    warnings: tuple[str, ...] = ()
    opaque: Image.Image | None = None

    def png(self) -> bytes:
        """Return the PNG; the same pixels give the same bytes with the same release of Pillow."""
        return _png(self.image)

    def mask_png(self) -> bytes:
        """Return the PNG of what is opaque; empty if all of it is."""
        return b"" if self.opaque is None else _png(self.opaque)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def normalise(data: bytes, file: str, resolution: int, *, masked: bool = False) -> Photo:
    """Decode `data` and resize the shorter side to `resolution` pixels. `file` is for messages only.

    Transparent pixels become white, so that the ground is the same everywhere. With `masked`, where the ground is not
    learned, they become grey if what is opaque is mostly white.

    Raises:
        ImageError: the file is not a supported image, damaged, a decompression bomb, too small or too narrow.
    """
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            # Pillow warns of unusual metadata, which is dropped, and of the size, which is checked below.
            warnings.simplefilter("ignore")
            with _open(data) as opened:
                _refuse_raw(opened, file)
                _check_size(opened, file)
                _reduce(opened, resolution)
                notes += _frames(opened)
                opened.load()
                upright = _upright(opened, notes)
                alpha = opaque_part(upright)
                image = to_srgb(upright, notes)
                if alpha is not None:
                    image = on_ground(image, alpha, file, notes, masked=masked)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise _unreadable(data, file) from error
    except Image.DecompressionBombError as error:
        raise _too_large("declares an excessive size", file) from error
    except BROKEN as error:
        raise ImageError(
            f"is damaged or truncated ({error})", file=file, next_step="export it again, or remove it"
        ) from error
    resized = _resize(image, resolution, notes)
    opaque = None if alpha is None else alpha.resize(resized.size, Image.Resampling.BILINEAR)
    return Photo(resized, tuple(notes), opaque)


def _refuse_raw(image: Image.Image, file: str) -> None:
    """Refuse the raw files of cameras that are TIFF files: Pillow would read the thumbnail in them."""
    tags = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
    if tags is not None and (_DNG_VERSION in tags or (int(tags.get(_SUBFILE_TYPE, 0)) & 1 and _SUB_IFDS in tags)):
        raise _raw("DNG" if _DNG_VERSION in tags else None, file)


def _raw(kind: str | None, file: str) -> ImageError:
    what = f"is a camera's raw file{f' ({kind})' if kind else ''}, which is not supported"
    return ImageError(what, file=file, next_step="develop it: save it as JPEG or PNG with a photo program")


def _open(data: bytes) -> Image.Image:
    """Open an image without decoding it; a JPEG also if it declares more pixels than Pillow allows."""
    register_heif_opener()
    if not data.startswith(b"\xff\xd8"):
        return Image.open(io.BytesIO(data), formats=FORMATS)
    with _PILLOW:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_size(image: Image.Image, file: str) -> None:
    size = width, height = image.size
    # A progressive one is held as a whole while it is decoded.
    reduced = image.format in ("JPEG", "MPO") and not image.info.get("progressive")
    most = MAX_REDUCED if reduced else MAX_PIXELS
    if width * height > most:
        raise _too_large(f"is {width} x {height} pixels", file, most)
    if min(size) < MIN_SIDE:
        raise ImageError(
            f"is only {width} x {height} pixels",
            file=file,
            next_step=f"use an image of at least {MIN_SIDE} pixels per side, or remove it",
        )
    if max(size) > MAX_ASPECT * min(size):
        raise ImageError(
            f"is {width} x {height} pixels, too narrow to train on",
            file=file,
            next_step=f"crop it to an aspect ratio of at most {MAX_ASPECT}:1",
        )


def _reduce(image: Image.Image, resolution: int) -> None:
    """Let a very large JPEG be decoded at a fraction of its size, at least twice the resolution."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        scale = 2 * resolution / min(image.size)
        image.draft(None, (max(1, int(width * scale)), max(1, int(height * scale))))


def _too_large(what: str, file: str, most: int = MAX_PIXELS) -> ImageError:
    return ImageError(
        f"{what}, more than the supported {most // 1_000_000} megapixels",
        file=file,
        next_step="resize it; training needs far fewer pixels",
    )


def _unreadable(data: bytes, file: str) -> ImageError:
    if not data:
        return ImageError("is empty", file=file, next_step="export it again, or remove it")
    if (raw := _RAW_STARTS.get(data[:4])) or data[8:10] == b"CR" or data[8:12] == b"crx ":
        return _raw(raw or "CR2 or CR3", file)
    if data.startswith(b"version https://git-lfs"):
        return ImageError("is a Git LFS pointer, not the image", file=file, next_step="run `git lfs pull`, then add it")
    kind = _UNSUPPORTED.get(data[8:12]) if data[4:8] == b"ftyp" else None
    if kind:
        return ImageError(f"is {kind}, which is not supported", file=file, next_step="save it as JPEG or PNG")
    return ImageError(
        "is not a supported image, or is truncated near its start",
        file=file,
        next_step="save it as JPEG or PNG, or remove it from the folder",
    )


def looks_like_image(start: bytes) -> bool:
    """Whether a file is an image by its first bytes, also one that is refused when it is read."""
    magics = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP", b"\xffO\xffQ")
    return start.startswith((*magics, *_RAW_STARTS)) or start[8:12] == b"WEBP" or start[4:8] == b"ftyp"


def _frames(image: Image.Image) -> list[str]:
    # Phones use MPO to attach a depth map or a second view to a JPEG; these are not frames of an animation.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        return ["has several frames or pages; only the first is used"]
    return []


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except BROKEN:
        notes.append("has damaged EXIF data; check that it is upright")
        return image


def _resize(image: Image.Image, resolution: int, notes: list[str]) -> Image.Image:
    shorter = min(image.size)
    if shorter < resolution:
        notes.append(
            f"is only {image.width} x {image.height} pixels, enlarged to {resolution}; use a larger one if possible"
        )
    width, height = (max(resolution, round(side * resolution / shorter)) for side in image.size)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    # Pillow would write the rest of `info` (a colour profile, a transparent colour) into the PNG.
    image.info = {}
    return image
