"""Sizes of the parts of base models, and the constants in which programs differ. No TensorFlow here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

EPSILON = 1e-5
"""Added to variances by layer norms, and by the group norms of the UNet's residual blocks and of its output."""
TIMESTEP_WIDTH = 320
LATENT_SCALE = 0.18215
"""What latents are multiplied by, so that they have about unit variance (Rombach et al. 2022, and Stable Diffusion)."""
Plan = tuple[tuple[str, int], ...]
"""The blocks of a part from its input to its output, each a kind and its width in channels."""


@dataclass(frozen=True)
class Numbers:
    """Where programs differ that compute Stable Diffusion from the same weights.

    `exact_gelu` is whether the UNet's transformers have the exact GELU, or its tanh approximation; `epsilon` is that of
    the group norms of its transformers and of the VAE.
    """

    exact_gelu: bool
    epsilon: float


ORIGINAL = Numbers(exact_gelu=True, epsilon=1e-6)
"""Of the program that Stable Diffusion was trained with, and of diffusers."""
KERAS_CV = Numbers(exact_gelu=False, epsilon=1e-5)


@dataclass(frozen=True)
class TextEncoderShape:
    """Sizes of a CLIP text encoder; `length` in tokens. `quick` is whether its activation is CLIP's, or OpenCLIP's."""

    length: int
    width: int
    layers: int
    heads: int
    quick: bool = True


@dataclass(frozen=True)
class UNetShape:
    """Sizes of a UNet.

    Attention has `heads` heads, or where that is 0, as in Stable Diffusion 2, heads of `head_width` channels.
    """

    context_width: int
    time_width: int
    plan: Plan
    heads: int = 0
    head_width: int = 64
    timestep_width: int = TIMESTEP_WIDTH

    def heads_of(self, width: int) -> int:
        """Return how many heads the attention of a block has."""
        return self.heads or width // self.head_width


@dataclass(frozen=True)
class Shapes:
    """Sizes of all parts of a base model. Prompts are padded with the end token, or with the token `padding`."""

    text_encoder: TextEncoderShape
    unet: UNetShape
    image_encoder: Plan
    decoder: Plan
    padding: int | None = None


def sd_unet(
    context_width: int, heads: int = 0, head_width: int = 64, widths: Sequence[int] = (320, 640, 1280, 1280)
) -> UNetShape:
    """Return the UNet of Stable Diffusion 1 and 2, with the width of each of its four resolutions in channels."""
    plan = tuple(_sd_plan(widths))
    return UNetShape(context_width, 4 * widths[0], plan, heads, head_width, timestep_width=widths[0])


def _sd_plan(widths: Sequence[int]) -> Iterator[tuple[str, int]]:
    levels, last = list(enumerate(widths)), widths[-1]
    yield from (("conv", widths[0]), ("save", 0))
    for level, width in levels:
        for _ in range(2):
            yield "res", width
            if level < 3:
                yield "attend", width
            yield "save", 0
        if level < 3:
            yield from (("down", width), ("save", 0))
    yield from (("res", last), ("attend", last), ("res", last))
    for level, width in reversed(levels):
        for _ in range(3):
            yield from (("join", 0), ("res", width))
            if level < 3:
                yield "attend", width
        if level:
            yield "up", width


def sd_image_encoder(widths: Sequence[int] = (128, 256, 512, 512)) -> Plan:
    """Return the VAE's encoder of Stable Diffusion, with the width of each of its four resolutions in channels."""
    plan = [("conv", widths[0])]
    for level, width in enumerate(widths):
        plan += [("down", widths[level - 1])] if level else []
        plan += [("res", width)] * 2
    last = widths[-1]
    return (*plan, ("res", last), ("attend", last), ("res", last))


def sd_decoder(widths: Sequence[int] = (128, 256, 512, 512)) -> Plan:
    """Return the VAE's decoder of Stable Diffusion, with the widths of its encoder."""
    last = widths[-1]
    plan = [("conv", last), ("res", last), ("attend", last), ("res", last)]
    for level, width in reversed([*enumerate(widths)]):
        plan += [("res", width)] * 3
        plan += [("up", width)] if level else []
    return tuple(plan)


def _tiny_plan() -> Iterator[tuple[str, int]]:
    yield from (("conv", 64), ("save", 0), ("res", 64), ("attend", 64), ("save", 0))
    yield from (("down", 96), ("save", 0), ("res", 96), ("attend", 96), ("save", 0))
    yield from (("res", 96), ("attend", 96))
    for _ in range(2):
        yield from (("join", 0), ("res", 96), ("attend", 96))
    yield "up", 64
    for _ in range(2):
        yield from (("join", 0), ("res", 64), ("attend", 64))


TINY = Shapes(
    TextEncoderShape(24, 96, 3, 4),
    UNetShape(96, 192, tuple(_tiny_plan()), heads=4),
    image_encoder=(
        *(("conv", 32), ("down", 32), ("res", 32), ("down", 64), ("res", 64)),
        *(("down", 64), ("res", 64), ("attend", 64), ("res", 64)),
    ),
    decoder=(
        *(("conv", 64), ("res", 64), ("attend", 64), ("res", 64)),
        *(("up", 64), ("res", 64), ("up", 32), ("res", 32), ("up", 32)),
    ),
)
SD_1 = Shapes(TextEncoderShape(77, 768, 12, 12), sd_unet(768, heads=8), sd_image_encoder(), sd_decoder())
SD_2 = Shapes(
    TextEncoderShape(77, 1024, 23, 16, quick=False), sd_unet(1024), sd_image_encoder(), sd_decoder(), padding=0
)
SHAPES = {"tiny": TINY, "sd-v1-4": SD_1}
