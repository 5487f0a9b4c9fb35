"""One picture file, as a camera, a scanner or a phone left it, made fit for training.

`normalise` takes the bytes of a file and gives an upright RGB picture in sRGB whose shorter side has the resolution
that is trained at. Nothing is cropped: where to crop is the trainer's business. What cannot be used raises
`ImageError`, what is only doubtful becomes a warning in words.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from conceptry.errors import ImageError

# Decoders that run in this process on plain bytes. Pillow has more, and some of them start other programs (EPS).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
# Pillow's own warning limit: a quarter of a gigabyte once it is decoded. Small files can claim far more.
MAX_PIXELS = 89_478_485
MIN_SIDE = 32
# Longer than this, the shorter side at full resolution makes a picture larger than any memory.
MAX_ASPECT = 8

# ISO base media files name their codec in bytes 8 to 12.
_UNSUPPORTED = {
    b"heic": "HEIC", b"heix": "HEIC", b"heim": "HEIC", b"heis": "HEIC", b"hevc": "HEIC", b"hevx": "HEIC",
    b"mif1": "HEIF", b"msf1": "HEIF", b"crx ": "CR3 raw", b"qt  ": "QuickTime video", b"isom": "MP4 video",
    b"mp41": "MP4 video", b"mp42": "MP4 video",
}  # fmt: skip

# What Pillow's decoders raise on damaged bytes, beside its own errors.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, AttributeError, MemoryError,
    RuntimeError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Photo:
    """A picture fit for training (mode RGB, no metadata), and what a person should know about it."""

    image: Image.Image
    warnings: tuple[str, ...] = ()

    def png(self) -> bytes:
        """Encode as PNG; the same pixels give the same bytes (with the same Pillow)."""
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG", compress_level=6)
        return buffer.getvalue()


def normalise(data: bytes, file: str, resolution: int) -> Photo:
    """Decode `data` and make its shorter side `resolution` pixels. `file` is for messages only.

    Raises:
        ImageError: not a picture that can be read, broken, a decompression bomb, too small or too narrow.
    """
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata, which is dropped here, and of size, which is checked below in any case.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                _check_size(opened.size, file)
                notes += _frames(opened)
                opened.load()
                image = _to_rgb(_upright(opened, notes), notes)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise _unreadable(data, file) from error
    except Image.DecompressionBombError as error:
        raise _too_large("claims to be enormous", file) from error
    except _BROKEN as error:
        raise ImageError(
            f"is broken or cut off ({error})", file=file, next_step="export it again, or remove it"
        ) from error
    return Photo(_resize(image, resolution, notes), tuple(notes))


def _check_size(size: tuple[int, int], file: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise _too_large(f"is {width} x {height} pixels", file)
    if min(size) < MIN_SIDE:
        raise ImageError(
            f"is only {width} x {height} pixels",
            file=file,
            next_step=f"use a picture of at least {MIN_SIDE} pixels a side, or remove it",
        )
    if max(size) > MAX_ASPECT * min(size):
        raise ImageError(
            f"is {width} x {height} pixels, too narrow to train on",
            file=file,
            next_step=f"crop it to at most {MAX_ASPECT} times as long as wide",
        )


def _too_large(what: str, file: str) -> ImageError:
    return ImageError(
        f"{what}, more than the {MAX_PIXELS // 1_000_000} megapixels that are read",
        file=file,
        next_step="make it smaller; training needs far fewer pixels",
    )


def _unreadable(data: bytes, file: str) -> ImageError:
    if not data:
        return ImageError("is empty", file=file, next_step="export it again, or remove it")
    kind = _UNSUPPORTED.get(data[8:12]) if data[4:8] == b"ftyp" else None
    if kind:
        return ImageError(f"is {kind}, which is not read", file=file, next_step="save it as JPEG or PNG")
    return ImageError(
        "is not a picture that can be read, or is cut off near its start",
        file=file,
        next_step="save it as JPEG or PNG, or remove it from the folder",
    )


def _frames(image: Image.Image) -> list[str]:
    # MPO is how phones attach a depth map or a second view to a JPEG: nobody means it as frames.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        return ["has several frames or pages; only the first is used"]
    return []


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _BROKEN:
        notes.append("has damaged EXIF data; check that it is upright")
        return image


def _to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """Bring any mode to 8-bit sRGB on white."""
    icc = image.info.get("icc_profile")
    if image.mode == "F":
        raise ValueError("32-bit float pixels have no agreed range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        image = _from_16_bit(image)
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    # The mode that a colour profile speaks of: without palette and alpha.
    if image.mode not in ("L", "RGB", "CMYK", "LAB", "YCbCr"):
        image = image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")
    if icc:
        image = _to_srgb(image, icc, notes)
    image = image.convert("RGB")
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
    return image


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own `convert` would clip it."""
    values = np.asarray(image.convert("I"))
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("32-bit integer pixels have no agreed range: save it with 8 or 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8), "L")


def _to_srgb(image: Image.Image, icc: bytes, notes: list[str]) -> Image.Image:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if "sRGB" in ImageCms.getProfileDescription(profile):
            return image
        space = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}.get(profile.profile.xcolor_space.strip())
        if space == "RGB" and image.mode in ("L", "YCbCr"):
            image = image.convert("RGB")
        if space != image.mode:
            notes.append("has a colour profile of another kind of picture; it is ignored")
            return image
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        notes.append("has a damaged colour profile; it is ignored")
        return image
    return converted if converted is not None else image


def _resize(image: Image.Image, resolution: int, notes: list[str]) -> Image.Image:
    shorter = min(image.size)
    if shorter < resolution:
        notes.append(
            f"is only {image.width} x {image.height} pixels, enlarged to {resolution}; use a larger one if there is one"
        )
    width, height = (max(resolution, round(side * resolution / shorter)) for side in image.size)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    # Pillow would write what is left in `info` (a colour profile, a transparent colour) into the PNG.
    image.info = {}
    return image
