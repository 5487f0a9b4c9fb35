"""Count what a training step multiplies, for estimates of its duration. No TensorFlow here.

A product of matrices m x k and k x n is 2 m k n floating-point operations. A step goes forward and back to the vectors:
back through a frozen weight is one product as large as the forward one, back through attention's own products, both of
whose factors depend on the vectors or on what they reach, is two. Norms and activations are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.models.shapes import Shapes, TextEncoderShape, UNetShape

_FROZEN, _BOTH = 2.0, 3.0
"""Forward and back, in forward products."""


@dataclass(frozen=True)
class StepFlops:
    """Operations of a step with one image, by what they grow with: nothing, latent pixels, or their square.

    `side` is that of the latents for which they are counted, an eighth of the image's.
    """

    fixed: float
    linear: float
    square: float
    side: int

    def at(self, resolution: int) -> float:
        """Return the operations for an image of so many pixels a side."""
        size = (resolution / 8 / self.side) ** 2
        return self.fixed + self.linear * size + self.square * size**2


def step_flops(shapes: Shapes, resolution: int = 512) -> StepFlops:
    """Count a step of a base model with one image of so many pixels a side."""
    side, length = resolution // 8, shapes.text_encoder.length
    fixed, linear, square = _unet(shapes.unet, side, length)
    return StepFlops(fixed + _text_encoder(shapes.text_encoder), linear, square, side)


def _text_encoder(shape: TextEncoderShape) -> float:
    products = 2.0 * shape.length * 12 * shape.width**2
    attention = 4.0 * shape.length**2 * shape.width
    return shape.layers * (_FROZEN * products + _BOTH * attention)


def _unet(shape: UNetShape, side: int, length: int) -> tuple[float, float, float]:
    fixed = linear = square = 0.0
    width, saved = 4, []
    for kind, wanted in (*shape.plan, ("conv", 4)):
        pixels = float(side**2)
        if kind == "save":
            saved.append(width)
            continue
        if kind == "join":
            width += saved.pop()
            continue
        if kind == "attend":
            parts = _transformer(wanted, pixels, length, shape.context_width)
            fixed, linear, square = fixed + parts[0], linear + parts[1], square + parts[2]
            continue
        if kind == "res":
            linear += (
                _FROZEN * 2 * pixels * (9 * wanted * (width + wanted) + (width * wanted if width != wanted else 0))
            )
        else:
            side = side // 2 if kind == "down" else side * 2 if kind == "up" else side
            linear += _FROZEN * 2 * side**2 * 9 * width * wanted
        width = wanted
    return fixed, linear, square


def _transformer(width: int, pixels: float, length: int, context_width: int) -> tuple[float, float, float]:
    # In and out; query, key, value and out; query and out of the prompt's; the gated feed-forward, 8 and 4 wide.
    weights = 2 + 4 + 2 + 8 + 4
    linear = _FROZEN * 2 * pixels * weights * width**2 + _BOTH * 4 * pixels * length * width
    return _FROZEN * 4 * length * context_width * width, linear, _BOTH * 4 * pixels**2 * width
