"""Pictures as cameras, scanners and phones leave them."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from conceptry.errors import ImageError
from tasks.records import normalise
from tests.support.png_file import make_png, png_chunk


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth light, a few soft shapes and sensor noise; the top left corner is red."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [np.sin(x * a + y * b + c) for a, b, c in generator.uniform(2, 9, (3, 3))]
    pixels = 128 + 80 * np.stack(waves, axis=-1) + generator.normal(0, 4, (height, width, 3))
    pixels[: height // 4, : width // 4] = (220, 20, 20)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGB")


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def corner(image: Image.Image) -> tuple[int, ...]:
    pixel = image.getpixel((3, 3))
    assert isinstance(pixel, tuple)
    return pixel


def is_red(image: Image.Image) -> bool:
    red, green, blue = corner(image)
    return red > 190 and green < 60 and blue < 60


pillow_heif.register_heif_opener()
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM")


@pytest.mark.parametrize("kind", KINDS)
def test_common_formats_become_rgb_at_the_resolution(kind: str) -> None:
    photo = normalise(encode(photograph(300, 200), kind), f"cat.{kind}", 64)

    assert photo.image.mode == "RGB"
    assert photo.image.size == (96, 64)
    assert is_red(photo.image)
    assert photo.warnings == ()


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [((300, 200), 64, (96, 64)), ((200, 300), 64, (64, 96)), ((64, 64), 64, (64, 64)), ((641, 640), 512, (513, 512))],
)
def test_the_shorter_side_has_the_resolution_and_nothing_is_cropped(
    size: tuple[int, int], resolution: int, expected: tuple[int, int]
) -> None:
    image = photograph(*size)
    image.paste((20, 20, 220), (size[0] * 3 // 4, size[1] * 3 // 4, *size))
    photo = normalise(encode(image, "PNG"), "cat.png", resolution)

    assert photo.image.size == expected
    assert is_red(photo.image)
    last = photo.image.getpixel((expected[0] - 3, expected[1] - 3))
    assert isinstance(last, tuple)
    assert last[2] > 190


def test_a_picture_of_the_right_size_keeps_its_pixels() -> None:
    image = photograph(64, 80)
    assert normalise(encode(image, "PNG"), "cat.png", 64).image.tobytes() == image.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])  # HEIF has its own, which its decoder applies
def test_the_orientation_in_exif_is_applied(orientation: int, kind: str) -> None:
    # How a camera stores an upright picture when it is held so.
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    image = photograph(300, 200)
    if orientation in stored:
        image = image.transpose(stored[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation

    photo = normalise(encode(image, kind, exif=exif), "cat", 64)

    assert photo.image.size == (96, 64)
    assert is_red(photo.image)


def test_damaged_exif_is_no_reason_to_refuse() -> None:
    photo = normalise(encode(photograph(100, 80), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff"), "cat.jpg", 64)
    assert is_red(photo.image)


def with_alpha(image: Image.Image) -> Image.Image:
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, image.width, image.height // 2))
    image = image.convert("LA" if image.mode == "L" else "RGBA")
    image.putalpha(alpha)
    return image


def with_a_block(mode: str, colour: int | tuple[int, ...]) -> Image.Image:
    """A picture of one colour with a grey block in it, away from the corner."""
    image = Image.new(mode, (80, 80), colour)
    image.paste(Image.new(mode, (20, 20), 90 if mode == "L" else (90, 90, 90)), (40, 40))
    return image


def palette_with_transparency(image: Image.Image) -> bytes:
    indexed = image.quantize(16)
    return encode(indexed, "PNG", transparency=indexed.getpixel((3, 3)))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(with_alpha(photograph(100, 80)), "PNG"), id="RGBA"),
        pytest.param(encode(with_alpha(photograph(100, 80)), "WEBP", lossless=True), id="WebP"),
        pytest.param(encode(with_alpha(photograph(100, 80).convert("L")), "PNG"), id="LA"),
        pytest.param(palette_with_transparency(photograph(100, 80)), id="palette"),
        pytest.param(encode(with_a_block("RGB", (9, 8, 7)), "PNG", transparency=(9, 8, 7)), id="RGB with a key"),
        pytest.param(encode(with_a_block("L", 7), "PNG", transparency=7), id="grey with a key"),
    ],
)
def test_what_is_transparent_is_white(data: bytes) -> None:
    assert corner(normalise(data, "cat.png", 64).image) == (255, 255, 255)


@pytest.mark.parametrize("ground", [(0, 0, 0, 0), (255, 255, 255, 0)])
def test_a_white_logo_on_a_transparent_ground_is_refused(ground: tuple[int, ...]) -> None:
    logo = Image.new("RGBA", (80, 80), ground)
    logo.paste((255, 255, 255, 255), (20, 20, 60, 60))
    with pytest.raises(ImageError, match=r"logo\.png: is blank(?s:.*)coloured ground"):
        normalise(encode(logo, "PNG"), "logo.png", 64)
    logo.paste((250, 120, 0, 255), (30, 30, 40, 40))
    assert normalise(encode(logo, "PNG"), "logo.png", 64).image.size == (64, 64)


def test_cmyk_is_converted() -> None:
    photo = normalise(encode(photograph(100, 80).convert("CMYK"), "JPEG", quality=95), "cat.jpg", 64)
    assert is_red(photo.image)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette_pictures_become_rgb(mode: str) -> None:
    photo = normalise(encode(photograph(100, 80).convert(mode), "PNG"), "cat.png", 64)
    assert photo.image.mode == "RGB"


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    photo = normalise(encode(Image.fromarray(ramp), kind), "scan", 64)

    values = np.asarray(photo.image)[..., 0].ravel()
    assert (values[0], values[-1]) == (0, 255)
    assert abs(float(values.mean()) - 127.5) < 1


def test_16_bit_colour_is_scaled() -> None:
    row = b"\0" + struct.pack(">HHH", 0x8000, 0x4000, 0xFFFF) * 64
    photo = normalise(make_png(64, 64, 16, 2, row * 64), "scan.png", 64)
    assert corner(photo.image) == (0x80, 0x40, 0xFF)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pixels_are_refused_with_advice(mode: str) -> None:
    image = Image.new(mode, (64, 64), 70_000)
    with pytest.raises(ImageError, match=r"scan\.tif: .*save it with 8 or 16 bits"):
        normalise(encode(image, "TIFF"), "scan.tif", 64)


def test_an_animation_gives_its_first_frame_and_a_warning() -> None:
    frames = [photograph(100, 80), Image.new("RGB", (100, 80), "blue")]
    for kind in ("GIF", "PNG", "WEBP"):
        photo = normalise(encode(frames[0], kind, save_all=True, append_images=frames[1:]), "cat", 64)
        assert is_red(photo.image)
        assert photo.warnings == ("has several frames or pages; only the first is used",)


def test_a_second_view_in_a_phones_jpeg_is_no_animation() -> None:
    data = encode(photograph(100, 80), "MPO", save_all=True, append_images=[photograph(100, 80, seed=1)])
    photo = normalise(data, "phone.jpg", 64)
    assert is_red(photo.image)
    assert photo.warnings == ()


def swapped_profile() -> bytes:
    """An RGB profile with red and green swapped: whoever honours it shows green where the pixels are red."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile = profile.replace(b"sRGB", b"odd!").replace("sRGB".encode("utf-16-be"), "odd!".encode("utf-16-be"))
    count = struct.unpack_from(">I", profile, 128)[0]
    for index in range(count):
        name = bytes(profile[132 + index * 12 : 136 + index * 12])
        if name in (b"rXYZ", b"gXYZ"):
            profile[132 + index * 12 : 136 + index * 12] = b"gXYZ" if name == b"rXYZ" else b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_colour_profile_is_converted_to_srgb(kind: str) -> None:
    photo = normalise(encode(photograph(100, 80), kind, icc_profile=swapped_profile()), "cat", 64)

    red, green, _ = corner(photo.image)
    assert green > 190
    assert red < 60
    assert photo.warnings == ()
    assert "icc_profile" not in Image.open(io.BytesIO(photo.png())).info


def test_a_colour_profile_and_alpha_go_together() -> None:
    image = with_alpha(photograph(100, 80)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    photo = normalise(encode(image, "PNG", icc_profile=swapped_profile()), "cat.png", 64)

    assert photo.image.getpixel((3, 60))[1] > 190  # type: ignore[index]
    bottom = photo.image.crop((0, 0, 10, 20))
    assert bottom.getextrema() != ((255, 255),) * 3


def test_an_srgb_profile_changes_nothing() -> None:
    image = photograph(64, 64)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert normalise(encode(image, "PNG", icc_profile=profile), "x", 64).image.tobytes() == image.tobytes()


@pytest.mark.parametrize(
    ("mode", "profile", "warning"),
    [("RGB", b"nonsense", "damaged colour profile"), ("CMYK", swapped_profile(), "profile for another colour mode")],
)
def test_an_unusable_colour_profile_is_ignored_with_a_warning(mode: str, profile: bytes, warning: str) -> None:
    photo = normalise(encode(photograph(100, 80).convert(mode), "JPEG", icc_profile=profile), "cat.jpg", 64)
    assert is_red(photo.image)
    assert warning in photo.warnings[0]


def test_a_small_picture_is_enlarged_with_a_warning() -> None:
    photo = normalise(encode(photograph(48, 40), "PNG"), "cat.png", 64)
    assert photo.image.size == (77, 64)
    assert "only 48 x 40 pixels, enlarged to 64" in photo.warnings[0]


@pytest.mark.parametrize(("size", "message"), [((31, 200), "31 x 200"), ((33, 330), "too narrow"), ((1, 1), "1 x 1")])
def test_too_small_and_too_narrow_pictures_are_refused(size: tuple[int, int], message: str) -> None:
    with pytest.raises(ImageError, match=rf"folder/tiny\.png: .*{message}"):
        normalise(encode(Image.new("RGB", size), "PNG"), "folder/tiny.png", 64)


@pytest.mark.parametrize("side", [9_500, 14_000, 40_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    # A few bytes that claim hundreds of megapixels: below, between and above Pillow's own limits.
    bomb = make_png(side, side, 8, 2, b"\0" * 1000)
    with pytest.raises(ImageError, match=r"bomb\.png: .*89 megapixels"):
        normalise(bomb, "bomb.png", 64)


@pytest.mark.parametrize(("width", "height"), [(12_000, 9_000), (16_320, 12_240)])
def test_a_phones_108_and_200_megapixels_are_read_at_a_fraction(width: int, height: int) -> None:
    photo = normalise(encode(Image.new("L", (width, height), 200), "JPEG"), "phone.jpg", 64)
    assert photo.image.size == (85, 64)
    assert corner(photo.image) == (200, 200, 200)


def test_a_progressive_jpeg_of_that_size_would_be_held_as_a_whole() -> None:
    data = encode(Image.new("L", (10_000, 9_000), 200), "JPEG", progressive=True)
    with pytest.raises(ImageError, match="10000 x 9000 pixels, more than the supported 89 megapixels"):
        normalise(data, "phone.jpg", 64)


def test_a_text_bomb_in_a_picture_is_refused() -> None:
    bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 80_000_000))
    whole = encode(photograph(64, 64), "PNG")
    with pytest.raises(ImageError, match=r"bomb\.png"):
        normalise(whole[:33] + bomb + whole[33:], "bomb.png", 64)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_picture_that_is_cut_off_is_refused(kind: str) -> None:
    data = encode(photograph(300, 200), kind)
    for part in (len(data) // 2, 30, 5):
        with pytest.raises(ImageError, match=r"cut\.jpg: .*; "):
            normalise(data[:part], "cut.jpg", 64)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello world, this is text", "is not a supported image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "is not a supported image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a supported image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "is not a supported image, or is truncated"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp41" + bytes(100), "is MP4 video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(100), r"is a camera's raw file \(CR2 or CR3\)"),
        (b"IIRO\x08\0\0\0" + bytes(100), r"is a camera's raw file \(ORF\)"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(100), r"is a camera's raw file \(RAF\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
    ],
)
def test_what_is_no_picture_says_what_to_do(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=rf"folder/x\.jpg: {message}.*; ") as caught:
        normalise(data, "folder/x.jpg", 64)
    assert caught.value.file == "folder/x.jpg"


@pytest.mark.parametrize("tags", [{50706: b"\1\4\0\0"}, {254: 1, 330: 8}], ids=["DNG", "NEF"])
def test_the_thumbnail_of_a_raw_file_is_not_taken_for_the_photograph(tags: dict[int, Any]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (160, 120), "red").save(buffer, "TIFF", tiffinfo=tags)
    with pytest.raises(ImageError, match=r"x\.dng: is a camera's raw file.*; develop it"):
        normalise(buffer.getvalue(), "x.dng", 64)


def test_the_same_picture_gives_the_same_bytes() -> None:
    data = encode(photograph(300, 200), "JPEG", dpi=(300, 300), comment="a comment")
    one, two = normalise(data, "a", 64), normalise(data, "b", 64)
    assert one.png() == two.png()
    assert Image.open(io.BytesIO(one.png())).info == {}


def flip_bytes(data: bytes, places: list[tuple[float, int]]) -> bytes:
    damaged = bytearray(data)
    for place, value in places:
        damaged[int(place * (len(damaged) - 1))] = value
    return bytes(damaged)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=12))
def test_any_damage_ends_in_a_picture_or_an_error_that_names_the_file(
    kind: str, places: list[tuple[float, int]]
) -> None:
    try:
        photo = normalise(flip_bytes(SMALL[kind], places), "odd.jpg", 64)
    except ImageError as error:
        file, sizes = error.file, {64}
    else:
        file, sizes = "odd.jpg", {min(photo.image.size)}
    assert (file, sizes) == ("odd.jpg", {64})


SMALL = {kind: encode(photograph(64, 64) if kind == "HEIF" else photograph(48, 40), kind) for kind in KINDS}


@pytest.mark.parametrize("convert", [lambda image: image, lambda image: image.convert("CMYK")], ids=["RGB", "CMYK"])
def test_tiff_scans_with_several_pages_give_the_first(convert: Callable[[Image.Image], Image.Image]) -> None:
    pages = [convert(photograph(100, 80)), convert(Image.new("RGB", (100, 80), "blue"))]
    photo = normalise(encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]), "scan.tif", 64)
    assert is_red(photo.image)
    assert "first" in photo.warnings[0]
