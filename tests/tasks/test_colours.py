"""Colours as phones, cameras and print shops store them: what is trained on is sRGB."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from tasks.records import normalise
from tasks.records.icc_profiles import adobe_rgb, display_p3
from tests.support.png_file import make_png, png_chunk

DISPLAY_P3, ADOBE_RGB = display_p3(), adobe_rgb()
CMYK = (Path(__file__).parent / "profiles" / "CGATS001Compat-v2-micro.icc").read_bytes()
"""Of https://github.com/saucecontrol/Compact-ICC-Profiles (CC0)."""

FELT = (200, 60, 60)
TO_XYZ = {
    "sRGB": [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
    "Display P3": [[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0.0, 0.0451134, 1.0439444]],
    "Adobe RGB": [[0.5767309, 0.1855540, 0.1881852], [0.2973769, 0.6273491, 0.0752741], [0.027034, 0.070687, 0.991109]],
}  # fmt: skip
"""Linear RGB to XYZ at D65: IEC 61966-2-1, SMPTE EG 432-1, and Adobe RGB (1998), 4.3.5."""

pillow_heif.register_heif_opener()


def in_srgb(colour: tuple[int, int, int], space: str) -> tuple[int, ...]:
    """What a colour of a wider space is in sRGB, computed from the standards."""
    values = np.asarray(colour) / 255
    if space == "Adobe RGB":
        linear = values ** (563 / 256)
    else:
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    linear = np.linalg.solve(TO_XYZ["sRGB"], np.asarray(TO_XYZ[space]) @ linear).clip(0, 1)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return tuple(int(value) for value in (encoded * 255).round())


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def shown(data: bytes) -> tuple[int, ...]:
    """What the middle of a picture is after it was read; it must be read without a warning."""
    photo = normalise(data, "cat", 64)
    assert photo.warnings == ()
    pixel = photo.image.getpixel((32, 32))
    assert isinstance(pixel, tuple)
    return pixel


def felt(mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", (64, 64), FELT).convert(mode)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize(("space", "profile"), [("Display P3", DISPLAY_P3), ("Adobe RGB", ADOBE_RGB)])
def test_a_wide_gamut_becomes_srgb(kind: str, space: str, profile: bytes) -> None:
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {"quality": 95}
    seen = shown(encode(felt(), kind, icc_profile=profile, **options))
    assert seen == pytest.approx(in_srgb(FELT, space), abs=2)
    assert seen != pytest.approx(FELT, abs=10)


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_a_wide_gamut_with_transparency_or_a_palette(mode: str) -> None:
    image = felt(mode) if mode == "RGBA" else felt().quantize(2, dither=Image.Dither.NONE)
    expected = in_srgb(image.convert("RGB").getpixel((32, 32)), "Display P3")  # type: ignore[arg-type]
    assert shown(encode(image, "PNG", icc_profile=DISPLAY_P3)) == pytest.approx(expected, abs=2)


def test_a_camera_that_says_adobe_rgb_in_exif_only() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0xA001: 0xFFFF, 0xA005: {1: "R03"}})
    data = encode(felt(), "JPEG", exif=exif, quality=95)
    assert shown(data) == pytest.approx(in_srgb(FELT, "Adobe RGB"), abs=2)
    exif.get_ifd(0x8769)[0xA005] = {1: "R98"}
    assert shown(encode(felt(), "JPEG", exif=exif, quality=95)) == pytest.approx(FELT, abs=2)


def heif(**nclx: int) -> bytes:
    buffer = io.BytesIO()
    whole = {"matrix_coefficients": 6, "full_range_flag": 1}
    pillow_heif.from_pillow(felt()).save(buffer, save_nclx_profile=True, quality=95, **whole, **nclx)
    return buffer.getvalue()


def test_a_phone_that_names_display_p3_without_a_profile() -> None:
    named = heif(color_primaries=12, transfer_characteristics=13)
    assert shown(named) == pytest.approx(in_srgb(FELT, "Display P3"), abs=3)
    assert shown(heif(color_primaries=1, transfer_characteristics=13)) == pytest.approx(FELT, abs=3)


def test_an_hdr_picture_is_named() -> None:
    [warning] = normalise(heif(color_primaries=9, transfer_characteristics=16), "cat.heic", 64).warnings
    assert "HDR" in warning


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile(kind: str) -> None:
    ink = Image.new("CMYK", (64, 64), (0, 200, 200, 20))
    # Ink on paper is duller than the formula for screens, which is what is left without a profile.
    assert shown(encode(ink, kind, icc_profile=CMYK)) == pytest.approx((223, 87, 62), abs=3)
    assert shown(encode(ink, kind)) == pytest.approx((235, 51, 51), abs=3)


def linear_grey() -> bytes:
    """A profile of greys whose values are proportional to light, by ICC.1:2010: three tags, a curve of gamma 1."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(78) + b"\0"
    tags = [(b"desc", text), (b"wtpt", white), (b"kTRC", b"curv" + bytes(8))]
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags:
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    size = struct.pack(">I", start + len(body))
    head = size + b"none\x02\x10\0\0mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28) + white[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_is_converted_by_its_profile(mode: str) -> None:
    pixels = np.full((64, 64), 55 * 257, np.uint16)
    image = Image.fromarray(pixels) if mode == "I;16" else Image.new("L", (64, 64), 55).convert(mode)
    # A light of 55 of 255, 21.6 %, is 128 in sRGB.
    assert shown(encode(image, "PNG", icc_profile=linear_grey())) == pytest.approx((128, 128, 128), abs=1)
    assert shown(encode(image, "PNG")) == (55, 55, 55)


@pytest.mark.parametrize(("colour", "alpha"), [(2, ()), (6, (65535,))], ids=["RGB", "RGBA"])
def test_16_bit_colour_with_a_wide_gamut(colour: int, alpha: tuple[int, ...]) -> None:
    pixel = [*(value * 257 for value in FELT), *alpha]
    row = b"\0" + struct.pack(f">{len(pixel)}H", *pixel) * 64
    profile = png_chunk(b"iCCP", b"P3\0\0" + zlib.compress(DISPLAY_P3))
    data = make_png(64, 64, 16, colour, row * 64, extra=profile)
    assert shown(data) == pytest.approx(in_srgb(FELT, "Display P3"), abs=2)
