"""The sentences that a placeholder token is trained in (after Gal et al. 2022, "An Image is Worth One Word")."""

from __future__ import annotations

OBJECT = (
    "a photo of {}",
    "a picture of {}",
    "a good photo of {}",
    "a bright photo of {}",
    "a cropped photo of {}",
    "a close-up photo of {}",
    "a rendering of {}",
    "a drawing of {}",
    "a photo of one {}",
    "a photo of the {}",
    "a photo of my {}",
    "a nice {}",
)
STYLE = (
    "a painting in the style of {}",
    "a picture in the style of {}",
    "a drawing in the style of {}",
    "a rendering in the style of {}",
    "a nice painting in the style of {}",
    "a close-up painting in the style of {}",
    "a small painting in the style of {}",
    "a large painting in the style of {}",
)


def templates(learnable_property: str) -> tuple[str, ...]:
    """The sentences for `object` or `style`, each with one `{}`."""
    return STYLE if learnable_property == "style" else OBJECT


def evaluation_prompt(learnable_property: str) -> str:
    """The one sentence that losses are compared with and samples are drawn from."""
    return templates(learnable_property)[0]
