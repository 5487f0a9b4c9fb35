"""The Inference Endpoint of one version.

    from handler import EndpointHandler
    EndpointHandler("folder of the version")({"inputs": "a photo of <token>", "parameters": {"seed": 7}})

A request is `{"inputs": PROMPT, "parameters": {...}}`; several prompts, as a list, are drawn one after the other. Who
accepts JSON gets `{"images": [BASE64, ...], "seed": 7, "format": "png"}` (a list of these for a list of prompts); who
accepts image/png or image/jpeg gets the first picture's bytes. All parameters may be left out:

    negative_prompt       what the picture should not show
    num_inference_steps   1 to 200
    guidance_scale        0 to 50; 1 is none
    seed                  0 to 2147483647; the same seed gives the same pictures. Without one, it is chosen and told
    num_images            1 to 8
    width, height         in pixels
    format                png or jpeg, of the pictures in JSON

What is raised becomes the endpoint's answer 400 `{"error": ...}`. The handler is made once: it has then drawn one step,
so that the first request to a healthy endpoint does not wait for compilation.

The folder holds settings.json, text_encoder/ and the trainer modules that draw; without a text_encoder/ (as this lies
in the repo) the base model draws. Weights that do not ship with it are looked for in the folder that CONCEPTRY_BASE_DIR
names, and what is missing is fetched before the endpoint is ready.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from trainer.base_weights.fetch import fetch_for_drawing, in_the_log
from trainer.base_weights.presets import of
from trainer.sampling.sampler import MAX_SIDE, MIN_SIDE, Pipeline

MAX_SEED = 2**31 - 1
MAX_PROMPT = 1000
MAX_PROMPTS = 8
MAX_PIXELS = 8 * 512 * 512
"""What one request may ask for in all, so that none takes the machine's memory or its time for itself."""
FORMATS = ("png", "jpeg")
PARAMETERS = (
    "negative_prompt", "num_inference_steps", "guidance_scale", "seed", "num_images", "width", "height", "format",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """A checked request for one prompt; what is None is the base model's own."""

    prompt: str
    negative_prompt: str = ""
    steps: int | None = None
    guidance_scale: float | None = None
    seed: int = 0
    num_images: int = 1
    width: int | None = None
    height: int | None = None
    format: str = "png"


def parse(data: Mapping[str, Any]) -> list[Request]:
    """Check a request's body, and give a request for each of its prompts; a missing seed is chosen at random.

    Raises:
        ValueError: naming everything that is wrong with it, and what is allowed.
    """
    if not isinstance(data, Mapping):
        raise ValueError('the body must be an object such as {"inputs": "a photo of ..."}')
    problems: list[str] = []
    prompts = _prompts(data.get("inputs"), problems)
    parameters = data.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        problems.append("parameters must be an object")
        parameters = {}
    unknown = sorted(str(key) for key in parameters if key not in PARAMETERS)
    if unknown:
        problems.append(f"unknown parameters {', '.join(unknown)}; there are {', '.join(PARAMETERS)}")
    negative = parameters.get("negative_prompt") or ""
    if not _is_text(negative):
        problems.append(f"negative_prompt must be a text of at most {MAX_PROMPT} characters")
        negative = ""
    picture_format = parameters.get("format") or FORMATS[0]
    if picture_format not in FORMATS:
        problems.append(f"format must be one of {', '.join(FORMATS)}")
    steps = _whole(parameters, "num_inference_steps", 1, 200, problems)
    guidance = _number(parameters, "guidance_scale", 0, 50, problems)
    seed = _whole(parameters, "seed", 0, MAX_SEED, problems)
    count = _whole(parameters, "num_images", 1, 8, problems) or 1
    width, height = (_whole(parameters, side, MIN_SIDE, MAX_SIDE, problems) for side in ("width", "height"))
    if problems:
        raise ValueError("; ".join(problems))
    seed = secrets.randbelow(MAX_SEED) if seed is None else seed
    return [
        Request(prompt, negative, steps, guidance, seed, count, width, height, picture_format) for prompt in prompts
    ]


def _prompts(inputs: Any, problems: list[str]) -> list[str]:
    prompts = inputs if isinstance(inputs, list) else [inputs]
    fits = all(_is_text(prompt) and prompt.strip() for prompt in prompts)
    if not fits or not 1 <= len(prompts) <= MAX_PROMPTS:
        problems.append(
            f"inputs must be a prompt, a text of 1 to {MAX_PROMPT} characters, or a list of up to {MAX_PROMPTS} of them"
        )
        return []
    return prompts


def _is_text(value: Any) -> bool:
    """Tell whether a value is a text that is short enough and whole: JSON can hold half a surrogate pair."""
    return isinstance(value, str) and len(value) <= MAX_PROMPT and not re.search("[\ud800-\udfff]", value)


def _whole(parameters: Mapping[str, Any], name: str, least: int, most: int, problems: list[str]) -> int | None:
    value = _number(parameters, name, least, most, problems, whole=True)
    return None if value is None else int(value)


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
        self._resolution = int(settings["resolution"])
        base_model = of(settings["base_model"], settings.get("base"))
        base_dir = fetch_for_drawing(
            base_model,
            os.environ.get("CONCEPTRY_BASE_DIR") or None,
            text_encoder=not trained,
            report=in_the_log(),
        )
        self._pipeline = Pipeline.load(
            base_model,
            base_dir=base_dir,
            text_encoder=str(encoder) if trained else None,
            placeholder_tokens=settings["placeholder_tokens"] if trained else (),
            resolution=self._resolution,
        )
        self._pipeline.warm_up()

    def __call__(self, data: Mapping[str, Any]) -> Any:
        """Draw what a request asks for.

        Raises:
            ValueError: the request cannot be drawn; the message says why.
        """
        requests = parse(data)
        pixels = sum(
            request.num_images * (request.width or self._resolution) * (request.height or self._resolution)
            for request in requests
        )
        if pixels > MAX_PIXELS:
            raise ValueError(
                f"{pixels:,} pixels are too many for one request, which may have {MAX_PIXELS:,}: ask for fewer or "
                "smaller pictures"
            )
        answers = [self._draw(request) for request in requests]
        if isinstance(data["inputs"], list):
            return Answers(answers)
        return answers[0]

    def _draw(self, request: Request) -> Answer:
        try:
            with self._turn:
                drawn = self._pipeline.draw(
                    request.prompt,
                    negative_prompt=request.negative_prompt,
                    num_images=request.num_images,
                    steps=request.steps,
                    guidance_scale=request.guidance_scale,
                    seed=request.seed,
                    width=request.width,
                    height=request.height,
                )
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and type(error).__name__ != "ResourceExhaustedError":
                raise
            raise ValueError("the machine ran out of memory: ask for fewer or smaller pictures") from error
        return Answer(request, [Image.fromarray(picture) for picture in drawn])


# An endpoint's server does not tell its handler what the caller accepts: JSON is made of what the handler returns, and
# image/* only of a Pillow image. So an answer is both, its data in JSON and its first picture as an image.


class Answer(dict[str, Any], Image.Image):  # type: ignore[misc]
    """The pictures of one prompt, as JSON or as the first of them."""

    def __init__(self, request: Request, pictures: list[Image.Image]) -> None:
        super().__init__(
            images=[_encoded(picture, request.format) for picture in pictures],
            seed=request.seed,
            format=request.format,
        )
        self.picture = pictures[0]

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:
        """Write the first picture, as Pillow's images do."""
        self.picture.save(fp, format, **params)


class Answers(list[Answer], Image.Image):  # type: ignore[misc]
    """The answers to several prompts, as JSON or as the first one's picture."""

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:
        """Write the first picture, as Pillow's images do."""
        self[0].picture.save(fp, format, **params)


def _encoded(picture: Image.Image, picture_format: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, picture_format, **({"quality": 95} if picture_format == "jpeg" else {}))
    return base64.b64encode(buffer.getvalue()).decode("ascii")
