"""What the square crops that a training sees leave out of wide and tall images."""

from __future__ import annotations

from collections.abc import Iterable

MOST_LOST = 0.4
"""Share of an image's area that a crop may lose unnamed: 3:2 loses 33 %, 16:9 44 %, 2:1 half."""
_SHOWN = 10


def crop_note(sizes: Iterable[tuple[str, int, int]]) -> str | None:
    """Name the images of which a square crop loses much, in one line; None if there are none.

    Args:
        sizes: File, width and height of each image, in pixels.
    """
    found = [(1 - min(size) / max(size), file) for file, *size in sizes]
    lost = sorted(((share, file) for share, file in found if share > MOST_LOST), key=lambda one: (-one[0], one[1]))
    if not lost:
        return None
    names = [f"{file} ({share:.0%})" for share, file in lost[:_SHOWN]]
    names += [f"{len(lost) - _SHOWN} more"] if len(lost) > _SHOWN else []
    images = "1 image loses" if len(lost) == 1 else f"{len(lost)} images lose"
    return (
        f"{images} over {MOST_LOST:.0%} of the area to the square crops that are trained on, which may cut "
        f"the subject: {', '.join(names)}; crop them to a square around the subject"
    )
