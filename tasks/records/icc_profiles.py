"""ICC profiles of colour spaces that files name without embedding a profile.

Both are display profiles of three colorants and one curve (ICC.1:2010, 8.4.3). The colorants are adapted from D65 to
the D50 of the profile connection space with the Bradford matrix; they sum up to it.
"""

from __future__ import annotations

import struct
from functools import cache

_D50 = (0.9642, 1.0, 0.8249)
_SRGB_CURVE = (3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""IEC 61966-2-1: Y = (aX + b)^g for X >= d, else Y = cX, with g, a, b, c, d after the type of the function."""
_HEADER = 128


@cache
def display_p3() -> bytes:
    """Return the profile of Display P3: primaries of SMPTE EG 432-1, D65, and the curve of sRGB."""
    colorants = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
    return _profile("Display P3", colorants, _SRGB_CURVE)


@cache
def adobe_rgb() -> bytes:
    """Return the profile of Adobe RGB (1998): its primaries, D65, and a gamma of 563/256."""
    colorants = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
    return _profile("Adobe RGB (1998)", colorants, (0, 563 / 256))


def _profile(name: str, colorants: tuple[tuple[float, float, float], ...], curve: tuple[float, ...]) -> bytes:
    """Return a profile of version 4.2 with the tags that such a profile must have.

    Args:
        name: Description.
        colorants: XYZ of red, green and blue, relative to D50.
        curve: Type of a parametric curve, and its parameters.
    """
    kind, *parameters = curve
    function = b"para" + bytes(4) + struct.pack(">HH", int(kind), 0) + _fixed(*parameters)
    tags = {b"desc": _text(name), b"cprt": _text("No copyright, use freely"), b"wtpt": _xyz(_D50)}
    tags |= dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, colorants), strict=True))
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), function)
    table, body = struct.pack(">I", len(tags)), b""
    start = _HEADER + len(table) + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI", start + len(body), b"", 0x04200000) + b"mntrRGB XYZ "
    created = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head += created + b"acsp" + bytes(28) + _fixed(*_D50)
    return head.ljust(_HEADER, b"\0") + table + body


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _fixed(*values: float) -> bytes:
    """Return numbers as s15Fixed16Number."""
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _text(text: str) -> bytes:
    """Return a multiLocalizedUnicodeType with one record."""
    data = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(data), 28) + data
