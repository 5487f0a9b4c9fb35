"""A drawing request of the Playground: its choices and bounds, and the same as a link that can be shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from space_template.settings import SpaceSettings

MAX_SEED = 2**31 - 1
MAX_PROMPT = 1000
MAX_PICTURES = 8
MAX_STEPS = 100
MAX_GUIDANCE = 15.0
DEFAULTS = {"tiny": (20, 3.0, 4), "sd-v1-4": (20, 7.5, 1)}
"""Steps, guidance and number of pictures of each base model."""
_STEP = {"tiny": 16, "sd-v1-4": 64}

# Builds the address of this page with all that makes the pictures again: the fields of `DrawingRequest`.
LINK_JS = """
(request) => {
  const url = new URL(window.location.href.split(/[?#]/)[0]);
  for (const [name, value] of Object.entries(request)) {
    if (value !== "") url.searchParams.set(name, value);
  }
  return url.toString();
}
"""


@dataclass(frozen=True)
class DrawingRequest:
    """One drawing request: `size` is WIDTHxHEIGHT in pixels, `compare` names another version, or is empty."""

    prompt: str
    negative: str
    guidance: float
    steps: int
    pictures: int
    seed: int
    size: str
    compare: str = ""

    @property
    def sides(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, _, height = self.size.partition("x")
        return int(width), int(height)


def defaults(settings: SpaceSettings) -> DrawingRequest:
    """Propose the request that the page starts with."""
    steps, guidance, pictures = DEFAULTS.get(settings.base_model, DEFAULTS["sd-v1-4"])
    prompt = next(iter(settings.examples), "")
    return DrawingRequest(prompt, "", guidance, steps, pictures, 0, sizes(settings)[0])


def sizes(settings: SpaceSettings) -> list[str]:
    """List the sizes on offer: as trained, one and a half times as wide, as high, and both."""
    step, side = _STEP.get(settings.base_model, 64), settings.resolution
    longer = max(side + step, round(side * 1.5 / step) * step)
    return [f"{side}x{side}", f"{longer}x{side}", f"{side}x{longer}", f"{longer}x{longer}"]


def restored(query: Mapping[str, str], settings: SpaceSettings) -> DrawingRequest | None:
    """Parse a shared link; values out of range take their defaults. None when the link asks for no drawing."""
    if "prompt" not in query:
        return None
    usual = defaults(settings)
    size = query.get("size", "")
    return DrawingRequest(
        query["prompt"][:MAX_PROMPT],
        query.get("negative", "")[:MAX_PROMPT],
        round(_number(query, "guidance", 1.0, MAX_GUIDANCE, usual.guidance) * 2) / 2,
        int(_number(query, "steps", 1, MAX_STEPS, usual.steps)),
        int(_number(query, "pictures", 1, MAX_PICTURES, usual.pictures)),
        int(_number(query, "seed", 0, MAX_SEED, usual.seed)),
        size if size in sizes(settings) else usual.size,
        query.get("compare", "")[:20],
    )


def _number(query: Mapping[str, str], name: str, least: float, most: float, usual: float) -> float:
    try:
        value = float(query.get(name, ""))
    except ValueError:
        return usual
    return value if least <= value <= most else usual
