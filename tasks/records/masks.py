"""What is said about the alpha channels of a concept's images, with `training.mask` and without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conceptry.errors import ImageError

_SHOWN = 10


def mask_note(transparent: Mapping[str, bool], *, masked: bool) -> str | None:
    """Say in one line which images have no mask, or, without `masked`, which could have one; None if there are none.

    Args:
        transparent: By file, whether part of the image is transparent.
        masked: Whether concept.yaml says `training.mask: alpha`.

    Raises:
        ImageError: masks are asked for, and no image has any transparent pixel.
    """
    found = [file for file, has in sorted(transparent.items()) if has]
    lacking = [file for file, has in sorted(transparent.items()) if not has]
    if masked and not found:
        raise ImageError(
            f"training.mask is alpha, and no image has transparent pixels: {_names(lacking)}",
            next_step="cut the subject out, save it as PNG or WebP with transparency, or remove training.mask",
        )
    if masked and lacking:
        return f"training.mask is alpha: without transparent pixels all is learned of {_names(lacking)}"
    if found and not masked:
        return (
            f"transparent pixels become white, and white is learned as the ground of {_names(found)}; "
            "training.mask: alpha in concept.yaml leaves the ground out"
        )
    return None


def _names(files: Sequence[str]) -> str:
    more = [f"{len(files) - _SHOWN} more"] if len(files) > _SHOWN else []
    return ", ".join([*files[:_SHOWN], *more])
