"""The sentences that a placeholder token is trained in (after Gal et al. 2022, "An Image is Worth One Word")."""

from __future__ import annotations

from collections.abc import Sequence

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


def templates(learnable_property: str, own: Sequence[str] = ()) -> tuple[str, ...]:
    """Choose the sentences to train with, each with one `{}`: the concept's own, else those for object or style."""
    return tuple(own) or (STYLE if learnable_property == "style" else OBJECT)


def captioned(sentence: str, caption: str, placeholder: str) -> str:
    """Make the prompt of one picture in one step.

    A caption that names the placeholder, or has `{}` for it, is the whole prompt; any other one says what else is in
    the picture, and follows the sentence: "a photo of <x>, on a red sofa".
    """
    if "{}" in caption or placeholder in caption.lower():
        return caption.replace("{}", placeholder)
    return ", ".join(filter(None, (sentence.format(placeholder), caption)))


def evaluation_prompt(learnable_property: str) -> str:
    """Give the one sentence that losses are compared on and samples are drawn from, with one `{}`."""
    return templates(learnable_property)[0]
