"""Colours of an image file: conversion of any profile, mode and depth to 8-bit sRGB.

The profile is the one in the file. Without one the file may name its colour space in other words:

    HEIF         primaries of the nclx box: 12 are Display P3 (ISO/IEC 23091-2, as phones write)
    EXIF         interoperability index R03: Adobe RGB (DCF 2.0, as cameras write, mostly without a profile)

Everything else without a profile is taken for sRGB.
"""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from typing import cast

from PIL import Image, ImageCms

from tasks.records.icc_profiles import adobe_rgb, display_p3

_P3_PRIMARIES, _SRGB_CURVE, _HDR_CURVES = 12, 13, (16, 18)
_INTEROPERABILITY_IFD, _INTEROPERABILITY_INDEX = 0xA005, 1
# Exceptions of Pillow's decoders on damaged bytes, besides its own classes.
BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, AttributeError, MemoryError,
    RuntimeError, struct.error, zlib.error,
)  # fmt: skip
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
"""Modes of Pillow by the colour space of a profile."""


def to_srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """Return an image of any mode as RGB in sRGB, without transparency; add what was ignored to `notes`.

    Raises:
        ValueError: the pixels have no defined range (32 bits).
    """
    icc = image.info.get("icc_profile") or _named_profile(image, notes)
    if image.mode == "F":
        raise ValueError("32-bit float pixels have no defined range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        image = _from_16_bit(image)
    # A colour profile describes the mode without palette and alpha.
    if image.mode not in ("L", "RGB", "CMYK", "LAB", "YCbCr"):
        image = image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")
    return (_convert(image, icc, notes) if icc else image).convert("RGB")


def _named_profile(image: Image.Image, notes: list[str]) -> bytes | None:
    """Return the profile of the colour space that a file without a profile names; None for sRGB."""
    nclx = image.info.get("nclx_profile") or {}
    curve = nclx.get("transfer_characteristics")
    if curve in _HDR_CURVES:
        notes.append("is an HDR image, whose colours come out pale; save it as JPEG or PNG in sRGB")
    elif nclx.get("color_primaries") == _P3_PRIMARIES and curve == _SRGB_CURVE:
        return display_p3()
    with suppress(*BROKEN):  # damaged EXIF, or none of this kind
        index = image.getexif().get_ifd(_INTEROPERABILITY_IFD).get(_INTEROPERABILITY_INDEX)
        return adobe_rgb() if str(index).startswith("R03") else None
    return None


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's `convert` would clip it."""
    values = image.convert("I")
    low, high = cast(tuple[float, float], values.getextrema())
    if low < 0 or high > 65535:
        raise ValueError("32-bit integer pixels have no defined range: save it with 8 or 16 bits")
    # (value + 128) // 257: Pillow cuts off the fraction, and the half keeps whole numbers off its edge.
    return values.point(lambda value: value * (1 / 257) + 128.5 / 257).convert("L")


def _convert(image: Image.Image, icc: bytes, notes: list[str]) -> Image.Image:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if "sRGB" in ImageCms.getProfileDescription(profile):
            return image
        space = _SPACES.get(profile.profile.xcolor_space.strip())
        if space == "RGB" and image.mode in ("L", "YCbCr"):
            image = image.convert("RGB")
        if space != image.mode:
            notes.append("has a colour profile for another colour mode; it is ignored")
            return image
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        notes.append("has a damaged colour profile; it is ignored")
        return image
    return converted if converted is not None else image
