"""A contact sheet: for each version the pictures it was taught with, and what was drawn before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_PANEL = 384
_GAP = 24
_TITLE = 40
_LABEL = 26
_INK, _FAINT, _PAPER = "#1a1a1a", "#6b6b6b", "#ffffff"


@dataclass(frozen=True)
class Panel:
    """One square of a row: a word or two, and one or several pictures (shown as a grid)."""

    label: str
    pictures: Sequence[Path]


@dataclass(frozen=True)
class Row:
    """One version: its title, a line below it, and the panels."""

    title: str
    subtitle: str
    panels: Sequence[Panel]


def contact_sheet(rows: Sequence[Row], destination: Path) -> Path:
    """Draw `rows` below each other and save them as one PNG at `destination`."""
    columns = max(len(row.panels) for row in rows)
    width = _GAP + columns * (_PANEL + _GAP)
    height = _GAP + len(rows) * (_TITLE + _LABEL + _PANEL + 2 * _GAP)
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    top = _GAP
    for row in rows:
        pen.text((_GAP, top), row.title, _INK, ImageFont.load_default(22))
        pen.text((_GAP, top + 26), row.subtitle, _FAINT, ImageFont.load_default(15))
        top += _TITLE + 8
        for column, panel in enumerate(row.panels):
            left = _GAP + column * (_PANEL + _GAP)
            pen.text((left, top), panel.label, _INK, ImageFont.load_default(15))
            sheet.paste(_grid(panel.pictures), (left, top + _LABEL))
        top += _LABEL + _PANEL + 2 * _GAP - 8
    destination.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(destination)
    return destination


def _grid(pictures: Sequence[Path]) -> Image.Image:
    """The pictures in a square of _PANEL pixels, as large as they fit, without changing their shape."""
    square = Image.new("RGB", (_PANEL, _PANEL), _PAPER)
    if not pictures:
        return square
    side = math.ceil(math.sqrt(len(pictures)))
    cell = _PANEL // side
    for place, path in enumerate(pictures):
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        scale = (cell - 4) / max(picture.size)
        picture = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS
        )
        square.paste(picture, ((place % side) * cell + 2, (place // side) * cell + 2))
    return square
