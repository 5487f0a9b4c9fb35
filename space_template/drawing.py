"""The model behind the Playground: fetched and loaded once, in the background, while the page is already there."""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from PIL import Image

from space_template.asked import Asked
from space_template.served import Served

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


class _StoppedError(Exception):
    """Raised inside a step of a job that nobody waits for any more."""


class Job:
    """Pictures being drawn in a thread of their own, so that a person can stop them between two steps."""

    def __init__(self, draw: Callable[[Callable[[int, int], None]], Any], turn: threading.Lock) -> None:
        self._draw = draw
        self._turn = turn
        self._stopped = threading.Event()
        self._steps: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._pictures: npt.NDArray[np.uint8] | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="draw", daemon=True).start()

    def steps(self) -> Iterator[tuple[int, int]]:
        """Give (step, of) after each step, until the pictures are there or the job has failed."""
        while (step := self._steps.get()) is not None:
            yield step

    def result(self) -> npt.NDArray[np.uint8]:
        """The pictures, (N, H, W, 3); to be called when `steps` is exhausted.

        Raises:
            ValueError: the prompt or a parameter cannot be drawn; the message says why.
        """
        if self._error is not None:
            raise self._error
        if self._pictures is None:
            raise ValueError("The drawing was stopped.")
        return self._pictures

    def stop(self) -> None:
        """End the job at its next step. Harmless when it is done."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            with self._turn:
                self._pictures = self._draw(self._on_step)
        except _StoppedError:
            LOG.info("a drawing was stopped")
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that asks for the result
            # TensorFlow has an error of its own for a full GPU.
            self._error = MemoryError() if type(error).__name__ == "ResourceExhaustedError" else error
        finally:
            self._steps.put(None)

    def _on_step(self, step: int, of: int) -> None:
        if self._stopped.is_set():
            raise _StoppedError
        self._steps.put((step, of))


class Studio:
    """Loads the released version and draws with it, one job at a time; earlier versions are fetched when asked for.

    Call `start` once; `begin` waits until the model is there.
    """

    def __init__(self, served: Served, *, base_dir: str | None = None) -> None:
        self.served = served
        self._base_dir = base_dir
        self._done = threading.Event()
        self._drawing = threading.Lock()
        self._loaded: Loaded | None = None
        self._problem: str | None = None
        self._others: dict[str, tuple[Any, str]] = {}
        self._fetching = threading.Lock()

    def start(self) -> None:
        """Begin to load, once, in a thread that does not keep the process alive."""
        threading.Thread(target=self._load, name="load-model", daemon=True).start()

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and warm."""
        return self._loaded is not None

    @property
    def problem(self) -> str | None:
        """Why there is no model, once that is known."""
        return self._problem

    def wait(self, timeout: float | None = None) -> Loaded:
        """Give the model as soon as it is loaded and warm.

        Raises:
            ModelUnavailableError: it cannot be loaded, or did not come in `timeout` seconds.
        """
        if not self._done.wait(timeout):
            raise ModelUnavailableError("The model is still being loaded; try again in a moment.")
        if self._loaded is None:
            raise ModelUnavailableError(self._problem or "The model is not there.")
        return self._loaded

    def begin(self, asked: Asked, version: str = "") -> Job:
        """Begin to draw in a thread; the job tells how far it is and can be stopped.

        Args:
            asked: What to draw.
            version: Another version than the released one, for example v1; its own token stands in for the prompt's.

        Raises:
            ModelUnavailableError: there is no model, or no such version.
        """
        pipeline = self.wait().pipeline
        prompt, negative = asked.prompt, asked.negative
        if version:
            pipeline, token = self._version(version)
            prompt, negative = (text.replace(self.served.placeholder_token, token) for text in (prompt, negative))
        width, height = asked.sides
        return Job(
            lambda on_step: pipeline.draw(
                prompt,
                negative_prompt=negative,
                num_images=asked.pictures,
                steps=asked.steps,
                guidance_scale=asked.guidance,
                seed=asked.seed,
                width=width,
                height=height,
                callback=on_step,
            ),
            self._drawing,
        )

    def _version(self, name: str) -> tuple[Any, str]:
        """The pipeline and the token of another version, fetched at the first call."""
        loaded = self.wait()
        revision = loaded.versions.get(name)
        if revision is None:
            raise ModelUnavailableError(
                f"There is no version {name}; there are {', '.join(loaded.versions) or 'none'}."
            )
        with self._fetching:
            if name not in self._others:
                try:
                    self._others[name] = other_version(self.served, loaded.pipeline, revision)
                except (HfHubHTTPError, OSError, ValueError, KeyError) as error:
                    raise ModelUnavailableError(f"{name} cannot be compared: {error}") from error
            return self._others[name]

    def _load(self) -> None:
        try:
            self._problem = too_little_memory(self.served.base_model, free_memory())
            if self._problem is None:
                loaded = load(self.served, self._base_dir)
                # Nobody shall wait for the compiling.
                loaded.pipeline.warm_up()
                self._loaded = loaded
        except MemoryError:
            self._problem = "This machine has too little memory for the base model: ask for larger hardware."
        except Exception as error:  # whatever it was, the page must say so
            LOG.exception("cannot load %s", self.served.model_repo)
            self._problem = explain(error, self.served)
        finally:
            self._done.set()


def load(served: Served, base_dir: str | None) -> Loaded:
    """Fetch the version's text encoder at its exact revision and load it with the base model."""
    folder = None
    if served.revision is not None:
        folder = Path(snapshot_download(served.model_repo, revision=served.revision, allow_patterns=FILES))
    # TensorFlow takes seconds to import: not before the page is up.
    from trainer.sampling import Pipeline

    pipeline = Pipeline.load(
        served.base_model,
        base_dir=base_dir,
        text_encoder=None if folder is None else str(folder / "text_encoder"),
        placeholder_tokens=served.placeholder_tokens if folder is not None else (),
        resolution=served.resolution,
    )
    return Loaded(pipeline, _pictures(folder), other_versions(served))


def _pictures(folder: Path | None) -> Mapping[str, Image.Image]:
    # As pictures, not as paths: Gradio shows no files out of the Hub's cache.
    samples = sorted((folder / "samples").glob("*.png")) if folder is not None else []
    return {path.stem: Image.open(path).convert("RGB") for path in samples}


def other_versions(served: Served) -> dict[str, str]:
    """The other published versions, the newest first, and their commits; none when the Hub does not say."""
    if not served.published:
        return {}
    try:
        branches = HfApi().list_repo_refs(served.model_repo).branches
    except (HfHubHTTPError, OSError, httpx2.HTTPError):
        LOG.warning("the Hub does not list the versions of %s", served.model_repo)
        return {}
    found = {branch.name: branch.target_commit for branch in branches if VERSION.fullmatch(branch.name)}
    found.pop(str(served.version), None)
    return dict(sorted(found.items(), key=lambda item: -int(item[0][1:])))


def other_version(served: Served, pipeline: Any, revision: str) -> tuple[Any, str]:
    """The pipeline of another version, sharing the base model, and its token.

    Raises:
        ValueError: it was trained on another base model.
    """
    folder = Path(
        snapshot_download(served.model_repo, revision=revision, allow_patterns=["text_encoder/*", "settings.json"])
    )
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    if settings["base_model"] != served.base_model:
        raise ValueError(f"it was trained on {settings['base_model']}, and this Space draws with {served.base_model}")
    tokens = [str(token) for token in settings["placeholder_tokens"]]
    return pipeline.with_text_encoder(str(folder / "text_encoder"), tokens), tokens[0]


def too_little_memory(base_model: str, free: float | None) -> str | None:
    """Say that a base model will not fit, before the machine ends the process without a word."""
    needed = NEEDED_GB.get(base_model, 0.0)
    if free is None or free >= needed:
        return None
    return (
        f"This machine has {free:.1f} GB of memory left, and {base_model} needs about {needed:g} GB: ask for larger "
        "hardware in concept.yaml (space.hardware)."
    )


def free_memory() -> float | None:
    """GB that this process may still take: what the machine has left, or its container if that is less."""
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


def explain(error: Exception, served: Served) -> str:
    """Say in words why the model could not be loaded."""
    what = f"{served.model_repo} at {(served.revision or 'main')[:10]}"
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return f"{what} is private, and this Space has no token that may read it: add the secret HF_TOKEN."
        if status == 404:
            return f"{what} is not there any more: the model repo was moved or deleted."
        return f"The Hub answered {status} for {what}; restart the Space in a while."
    if isinstance(error, FileNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return f"{error} (the variable {BASE_DIR_VARIABLE} names the folder)."
    if isinstance(error, OSError):
        return f"{what} could not be fetched ({type(error).__name__}); check the network and restart the Space."
    return f"{what} could not be loaded: {error}"


def base_dir_of_environment() -> str | None:
    """Folder with the base model's weights, where the machine has them already (CONCEPTRY_BASE_DIR)."""
    return os.environ.get(BASE_DIR_VARIABLE) or None
