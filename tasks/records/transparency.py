"""Transparent images: which part is opaque, and the ground that is put behind it."""

from __future__ import annotations

from typing import cast

from PIL import Image, ImageChops

from conceptry.errors import ImageError

# No channel of a blank pixel is darker.
_BLANK = 245
_OPAQUE = 128
_GREY = (128, 128, 128)


def opaque_part(image: Image.Image) -> Image.Image | None:
    """Return the alpha channel (mode L, 255 is opaque) of an image of any mode; None if nothing is transparent."""
    if not image.has_transparency_data:
        return None
    alpha = image.convert("RGBA").getchannel("A")
    return alpha if _range(alpha)[0] < 255 else None


def on_ground(image: Image.Image, alpha: Image.Image, file: str, notes: list[str], *, masked: bool) -> Image.Image:
    """Put an RGB image on white where it is transparent; with `masked` on grey, if most of what it shows is white.

    Args:
        image: RGB.
        alpha: Of the same size.
        file: For messages only.
        notes: Gets a warning if what it shows can hardly be seen.
        masked: Whether only the opaque part is trained on.

    Raises:
        ImageError: nothing would be seen.
    """
    opaque = alpha.point(lambda value: 255 if value >= _OPAQUE else 0)
    some, all_of_it = _range(opaque)[1] > 0, _range(opaque)[0] > 0
    if masked and not some:
        raise ImageError(
            "shows nothing: all of it is transparent", file=file, next_step="export it again, or remove it"
        )
    shades = _darkest(image).histogram(mask=opaque)
    mostly_white = some and sum(shades[_BLANK:]) > sum(shades) / 2
    if masked and mostly_white:
        return Image.composite(image, Image.new("RGB", image.size, _GREY), alpha)
    image = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
    if _range(_darkest(image))[0] >= _BLANK:
        raise ImageError(
            "is blank: what it shows is white, and transparent pixels become white",
            file=file,
            next_step="put it on a coloured ground, or remove it",
        )
    if mostly_white and not all_of_it:
        notes.append("shows mostly white on the white that transparent pixels become; put it on a coloured ground")
    return image


def _darkest(image: Image.Image) -> Image.Image:
    """Return the lowest value of each pixel's bands, of an RGB image."""
    red, green, blue = image.split()
    return ImageChops.darker(ImageChops.darker(red, green), blue)


def _range(band: Image.Image) -> tuple[float, float]:
    """Return the lowest and highest value of an image with one band."""
    return cast(tuple[float, float], band.getextrema())
