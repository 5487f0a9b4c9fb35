"""Transparent images: which part is opaque, and the ground that is put behind it."""

from __future__ import annotations

import numpy as np
from PIL import Image

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
    return alpha if np.asarray(alpha).min() < 255 else None


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
    opaque = np.asarray(alpha) >= _OPAQUE
    if masked and not opaque.any():
        raise ImageError(
            "shows nothing: all of it is transparent", file=file, next_step="export it again, or remove it"
        )
    mostly_white = opaque.any() and float((np.asarray(image)[opaque].min(axis=-1) >= _BLANK).mean()) > 0.5
    if masked and mostly_white:
        return Image.composite(image, Image.new("RGB", image.size, _GREY), alpha)
    image = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
    if np.asarray(image).min() >= _BLANK:
        raise ImageError(
            "is blank: what it shows is white, and transparent pixels become white",
            file=file,
            next_step="put it on a coloured ground, or remove it",
        )
    if mostly_white and not opaque.all():
        notes.append("shows mostly white on the white that transparent pixels become; put it on a coloured ground")
    return image
