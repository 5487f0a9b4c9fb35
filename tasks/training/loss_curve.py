"""Loss of a training as a picture: an SVG of the loss over the steps, in a data URI that Prefect's UI shows."""

import base64
from collections.abc import Sequence
from html import escape
from statistics import fmean

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 34, 34
"""Margins around the plot."""
WINDOW = 0.05
"""Share of the points that the smooth line averages."""
_INK, _FAINT, _GRID, _RAW, _SMOOTH = "#1f2937", "#6b7280", "#e5e7eb", "#93c5fd", "#1d4ed8"


def loss_curve(points: Sequence[tuple[int, float]], of: int, title: str) -> str:
    """Return the picture of a training's losses: each as measured, and a moving average.

    Args:
        points: Step and loss, in order; one at least.
        of: Steps that the training may take, the end of the axis.
        title: Heading.

    Returns:
        A data URI of an SVG image.
    """
    losses = [loss for _, loss in points]
    low, high = min(losses), max(losses)
    span = (high - low) or max(abs(high), 1e-6)
    low, high = low - span / 20, high + span / 20

    def place(step: float, loss: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / max(1, of)
        return round(x, 1), round(TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / (high - low), 1)

    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', _text(LEFT, 20, title, _INK, size=14)]
    for index in range(5):
        loss = low + (high - low) * index / 4
        _, y = place(0, loss)
        parts.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="{_GRID}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{loss:.4g}", _FAINT, anchor="end"))
        x, _ = place(of * index / 4, low)
        parts.append(_text(x, HEIGHT - 12, f"{of * index // 4}", _FAINT, anchor="middle" if index < 4 else "end"))
    parts.append(_line([place(*point) for point in points], _RAW, 1))
    parts.append(_line([place(*point) for point in smooth(points)], _SMOOTH, 2))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>'
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def smooth(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return the moving average of losses, over WINDOW of the points around each step."""
    half = max(1, round(len(points) * WINDOW / 2))
    return [
        (step, fmean(loss for _, loss in points[max(0, index - half) : index + half + 1]))
        for index, (step, _) in enumerate(points)
    ]


def _line(places: Sequence[tuple[float, float]], colour: str, width: float) -> str:
    corners = " ".join(f"{x},{y}" for x, y in places)
    return f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, colour: str, *, anchor: str = "start", size: int = 11) -> str:
    font = f'font-family="sans-serif" font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
    return f'<text x="{x}" y="{y}" {font}>{escape(text)}</text>'
