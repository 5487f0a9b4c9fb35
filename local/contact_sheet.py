"""Contact sheet: for each version its training images, and samples before and after training."""

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
    """Square of a row: a label, and one or several images (shown as a grid)."""

    label: str
    images: Sequence[Path]


@dataclass(frozen=True)
class Row:
    """Row of one version: title, subtitle and panels."""

    title: str
    subtitle: str
    panels: Sequence[Panel]


def contact_sheet(rows: Sequence[Row], destination: Path) -> Path:
    """Draw `rows` below each other and save them as a PNG at `destination`; return the path."""
    grids = [[_grid(panel.images) for panel in row.panels] for row in rows]
    heights = [_TITLE + _LABEL + max(grid.height for grid in grids_of_row) + 2 * _GAP for grids_of_row in grids]
    width = _GAP + max(len(row.panels) for row in rows) * (_PANEL + _GAP)
    sheet = Image.new("RGB", (width, _GAP + sum(heights)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    top = _GAP
    for row, grids_of_row, height in zip(rows, grids, heights, strict=True):
        pen.text((_GAP, top), row.title, _INK, ImageFont.load_default(22))
        pen.text((_GAP, top + 26), row.subtitle, _FAINT, ImageFont.load_default(15))
        for column, (panel, grid) in enumerate(zip(row.panels, grids_of_row, strict=True)):
            left = _GAP + column * (_PANEL + _GAP)
            pen.text((left, top + _TITLE + 8), panel.label, _INK, ImageFont.load_default(15))
            sheet.paste(grid, (left, top + _TITLE + 8 + _LABEL))
        top += height
    destination.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(destination)
    return destination


def _grid(images: Sequence[Path]) -> Image.Image:
    """Return the images as a grid in one panel, each as large as fits, with its aspect ratio kept."""
    columns = max(1, math.ceil(math.sqrt(len(images))))
    cell = _PANEL // columns
    cells = []
    for path in images:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        scale = (cell - 4) / max(image.size)
        cells.append(image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    tall = [max(image.height for image in row) + 4 for row in rows]
    grid = Image.new("RGB", (_PANEL, max(1, sum(tall))), _PAPER)
    top = 0
    for row, height in zip(rows, tall, strict=True):
        for column, image in enumerate(row):
            grid.paste(image, (column * cell + 2, top + 2))
        top += height
    return grid
