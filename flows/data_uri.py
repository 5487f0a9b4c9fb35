"""Pictures as data URIs, which Prefect's UI shows for private repos, too, and when the Hub has another address."""

import base64
import io
from pathlib import Path

from PIL import Image

WIDTH = 384
"""Pixels; a wider picture is scaled down, so that two fit beside each other."""
QUALITY = 85


def data_uri(path: Path) -> str:
    """Return a picture file as a data URI of a WebP image, scaled down to WIDTH.

    Raises:
        OSError: the file is no picture.
    """
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((WIDTH, picture.height))
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
