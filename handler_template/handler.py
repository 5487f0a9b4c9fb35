"""The Inference Endpoint of one version.

    from handler import EndpointHandler
    EndpointHandler("folder of the version")({"inputs": "a photo of <token>", "parameters": {"seed": 7}})

A request is `{"inputs": PROMPT, "parameters": {...}}`, an answer `{"images": [BASE64 PNG, ...], "seed": 7}`. The
parameters are `negative_prompt`, `num_inference_steps`, `guidance_scale`, `seed` and `num_images`. The same seed gives
the same pictures. What is raised becomes the endpoint's answer 400 `{"error": ...}`.

The folder holds settings.json, text_encoder/ and the trainer modules that draw; without a text_encoder/ (as this lies
in the repo) the base model draws.
"""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from trainer.sampling import Pipeline

MAX_SEED = 2**31 - 1
MAX_PROMPT = 1000
PARAMETERS = ("negative_prompt", "num_inference_steps", "guidance_scale", "seed", "num_images")


@dataclass(frozen=True)
class Request:
    """A checked request; `steps` and `guidance_scale` of None are the base model's own."""

    prompt: str
    negative_prompt: str = ""
    steps: int | None = None
    guidance_scale: float | None = None
    seed: int = 0
    num_images: int = 1


def parse(data: Mapping[str, Any]) -> Request:
    """Check a request's body; a missing seed is chosen at random.

    Raises:
        ValueError: naming everything that is wrong with it, and what is allowed.
    """
    if not isinstance(data, Mapping):
        raise ValueError('the body must be an object such as {"inputs": "a photo of ..."}')
    problems: list[str] = []
    prompt = data.get("inputs")
    if not isinstance(prompt, str) or not prompt.strip() or len(prompt) > MAX_PROMPT:
        problems.append(f"inputs must be a prompt, a text of 1 to {MAX_PROMPT} characters")
        prompt = ""
    parameters = data.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        problems.append("parameters must be an object")
        parameters = {}
    unknown = sorted(str(key) for key in parameters if key not in PARAMETERS)
    if unknown:
        problems.append(f"unknown parameters {', '.join(unknown)}; there are {', '.join(PARAMETERS)}")
    negative = parameters.get("negative_prompt") or ""
    if not isinstance(negative, str) or len(negative) > MAX_PROMPT:
        problems.append(f"negative_prompt must be a text of at most {MAX_PROMPT} characters")
        negative = ""
    steps = _number(parameters, "num_inference_steps", 1, 200, problems, whole=True)
    guidance = _number(parameters, "guidance_scale", 0, 50, problems)
    seed = _number(parameters, "seed", 0, MAX_SEED, problems, whole=True)
    count = _number(parameters, "num_images", 1, 8, problems, whole=True)
    if problems:
        raise ValueError("; ".join(problems))
    return Request(
        prompt,
        negative,
        None if steps is None else int(steps),
        guidance,
        secrets.randbelow(MAX_SEED) if seed is None else int(seed),
        1 if count is None else int(count),
    )


def _number(
    parameters: Mapping[str, Any], name: str, least: int, most: int, problems: list[str], *, whole: bool = False
) -> float | None:
    """Read an optional number; what is wrong with it is added to `problems`."""
    value = parameters.get(name)
    if value is None:
        return None
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most
    if not fits or (whole and value != int(value)):
        problems.append(f"{name} must be {'a whole' if whole else 'a'} number from {least} to {most}")
        return None
    return float(value)


class EndpointHandler:
    """What the Inference Endpoint's server makes once and then calls for every request."""

    def __init__(self, path: str = "") -> None:
        folder = Path(path or Path(__file__).parent)
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        encoder = folder / "text_encoder"
        trained = encoder.is_dir()
        self._turn = threading.Lock()
        self._pipeline = Pipeline.load(
            settings["base_model"],
            base_dir=os.environ.get("CONCEPTRY_BASE_DIR") or None,
            text_encoder=str(encoder) if trained else None,
            placeholder_tokens=settings["placeholder_tokens"] if trained else (),
            resolution=settings["resolution"],
        )

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Draw what a request asks for.

        Raises:
            ValueError: the request cannot be drawn; the message says why.
        """
        request = parse(data)
        with self._turn:
            pictures = self._pipeline.draw(
                request.prompt,
                negative_prompt=request.negative_prompt,
                num_images=request.num_images,
                steps=request.steps,
                guidance_scale=request.guidance_scale,
                seed=request.seed,
            )
        return {"images": [_png(picture) for picture in pictures], "seed": request.seed}


def _png(picture: Any) -> str:
    """A picture, (H, W, 3) uint8, as base64 of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
