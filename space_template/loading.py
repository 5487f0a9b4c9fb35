"""What has to be there before anything is drawn: the version's files, the base model's weights, and memory for them."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from PIL import Image

from space_template.settings import SpaceSettings
from trainer.base_weights.fetch import FetchError, Report, fetch_for_drawing
from trainer.base_weights.presets import of

LOG = logging.getLogger(__name__)
FILES = ["text_encoder/*", "samples/*.png"]
BASE_DIR_VARIABLE = "CONCEPTRY_BASE_DIR"
VERSION = re.compile(r"v[1-9][0-9]*")
NEEDED_GB = {"tiny": 0.6, "sd-v1-4": 5.0}
"""Memory of a base model that is loaded and drawing; the big one holds less where it is stored in bfloat16."""


class ModelUnavailableError(Exception):
    """The version or its base model could not be loaded; the message says why, for people who look at the page."""


@dataclass(frozen=True)
class Loaded:
    """What drawing needs.

    `pictures` came with the version, by name ("grid", "initializer", "0", ...); `versions` are the other published
    ones and their commits, the newest first.
    """

    pipeline: Any
    pictures: Mapping[str, Image.Image]
    versions: Mapping[str, str]


def load(settings: SpaceSettings, base_dir: str | None, report: Report) -> Loaded:
    """Fetch the version's text encoder at its exact revision, and what is missing of the base model; load both.

    Args:
        settings: What the Space serves.
        base_dir: A folder with the base model's weights, looked into first.
        report: Called with the progress of the base model's download.
    """
    folder = None
    if settings.revision is not None:
        folder = Path(snapshot_download(settings.model_repo, revision=settings.revision, allow_patterns=FILES))
    base_model = of(settings.base_model, settings.base)
    base_dir = fetch_for_drawing(base_model, base_dir, text_encoder=folder is None, report=report)
    # TensorFlow takes seconds to import: not before the page is up.
    from trainer.sampling.sampler import Pipeline

    pipeline = Pipeline.load(
        base_model,
        base_dir=base_dir,
        text_encoder=None if folder is None else str(folder / "text_encoder"),
        placeholder_tokens=settings.placeholder_tokens if folder is not None else (),
        resolution=settings.resolution,
    )
    return Loaded(pipeline, _pictures(folder), other_versions(settings))


def _pictures(folder: Path | None) -> Mapping[str, Image.Image]:
    # As pictures, not as paths: Gradio shows no files out of the Hub's cache.
    samples = sorted((folder / "samples").glob("*.png")) if folder is not None else []
    return {path.stem: Image.open(path).convert("RGB") for path in samples}


def other_versions(settings: SpaceSettings) -> dict[str, str]:
    """List the other published versions, the newest first, with their commits; none when the Hub does not answer."""
    if not settings.published:
        return {}
    try:
        branches = HfApi().list_repo_refs(settings.model_repo).branches
    except (HfHubHTTPError, OSError, httpx2.HTTPError):
        LOG.warning("the Hub does not list the versions of %s", settings.model_repo)
        return {}
    found = {branch.name: branch.target_commit for branch in branches if VERSION.fullmatch(branch.name)}
    found.pop(str(settings.version), None)
    return dict(sorted(found.items(), key=lambda item: -int(item[0][1:])))


def other_version(settings: SpaceSettings, pipeline: Any, revision: str) -> tuple[Any, str]:
    """Load the pipeline of another version, which shares the base model, and return it with its token.

    Raises:
        ValueError: it was trained on another base model.
    """
    folder = Path(
        snapshot_download(settings.model_repo, revision=revision, allow_patterns=["text_encoder/*", "settings.json"])
    )
    theirs = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    if theirs["base_model"] != settings.base_model:
        raise ValueError(f"it was trained on {theirs['base_model']}, and this Space draws with {settings.base_model}")
    tokens = [str(token) for token in theirs["placeholder_tokens"]]
    return pipeline.with_text_encoder(str(folder / "text_encoder"), tokens), tokens[0]


def too_little_memory(base_model: str, free: float | None) -> str | None:
    """Say that a base model will not fit, before the machine ends the process without a word."""
    needed = NEEDED_GB.get(base_model, NEEDED_GB["sd-v1-4"])
    if free is None or free >= needed:
        return None
    return (
        f"This machine has {free:.1f} GB of memory left, and {base_model} needs about {needed:g} GB: ask for larger "
        "hardware in concept.yaml (space.hardware)."
    )


def free_memory() -> float | None:
    """Measure the GB that this process may still take: of the machine, or of its container if that is less."""
    found = []
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) / 2**20)
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit():
        found.append((int(limit[0]) - int(used[0])) / 2**30)
    return min(found, default=None)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def explain(error: Exception, settings: SpaceSettings) -> str:
    """Say in words why the model could not be loaded."""
    what = f"{settings.model_repo} at {(settings.revision or 'main')[:10]}"
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return f"{what} is private, and this Space has no token that may read it: add the secret HF_TOKEN."
        if status == 404:
            return f"{what} is not there any more: the model repo was moved or deleted."
        return f"The Hub answered {status} for {what}; restart the Space in a while."
    if isinstance(error, FetchError):
        return (
            f"The weights of {settings.base_model} could not be fetched: {error}. Restart the Space to go on; where "
            f"the files lie in a folder already, let the variable {BASE_DIR_VARIABLE} name it."
        )
    if isinstance(error, FileNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return f"{error} (the variable {BASE_DIR_VARIABLE} names the folder)."
    if isinstance(error, OSError):
        return f"{what} could not be fetched ({type(error).__name__}); check the network and restart the Space."
    return f"{what} could not be loaded: {error}"


def base_dir_of_environment() -> str | None:
    """Read CONCEPTRY_BASE_DIR: the folder with the base model's weights, where the machine has them already."""
    return os.environ.get(BASE_DIR_VARIABLE) or None
