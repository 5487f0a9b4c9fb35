"""The model behind the Playground: fetched and loaded once, in the background, while the page is already there."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from space_template.served import Served

LOG = logging.getLogger(__name__)
FILES = ["text_encoder/*", "samples/grid.png", "samples/initializer.png"]


class ModelUnavailableError(Exception):
    """The version or its base model could not be loaded; the message says why, for people who look at the page."""


@dataclass(frozen=True)
class Loaded:
    """What drawing needs, and the pictures that came with the version (None where there are none)."""

    pipeline: Any
    grid: Path | None
    initializer_grid: Path | None


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
            self._error = error
        finally:
            self._steps.put(None)

    def _on_step(self, step: int, of: int) -> None:
        if self._stopped.is_set():
            raise _StoppedError
        self._steps.put((step, of))


class Studio:
    """Loads the released version and draws with it, one job at a time.

    Call `start` once; `begin` waits until the model is there.
    """

    def __init__(self, served: Served, *, base_dir: str | None = None) -> None:
        self.served = served
        self._base_dir = base_dir
        self._done = threading.Event()
        self._drawing = threading.Lock()
        self._loaded: Loaded | None = None
        self._problem: str | None = None

    def start(self) -> None:
        """Begin to load, once, in a thread that does not keep the process alive."""
        threading.Thread(target=self._load, name="load-model", daemon=True).start()

    @property
    def ready(self) -> bool:
        """Whether loading has ended, well or badly."""
        return self._done.is_set()

    def wait(self, timeout: float | None = None) -> Loaded:
        """Give the model as soon as it is loaded.

        Raises:
            ModelUnavailableError: it cannot be loaded, or did not come in `timeout` seconds.
        """
        if not self._done.wait(timeout):
            raise ModelUnavailableError("The model is still being loaded; try again in a moment.")
        if self._loaded is None:
            raise ModelUnavailableError(self._problem or "The model is not there.")
        return self._loaded

    def begin(
        self, prompt: str, *, negative_prompt: str, num_images: int, steps: int, guidance_scale: float, seed: int
    ) -> Job:
        """Begin to draw `num_images` pictures in a thread; the job tells how far it is and can be stopped.

        Raises:
            ModelUnavailableError: there is no model.
        """
        pipeline = self.wait().pipeline
        return Job(
            lambda on_step: pipeline.draw(
                prompt,
                negative_prompt=negative_prompt,
                num_images=num_images,
                steps=steps,
                guidance_scale=guidance_scale,
                seed=seed,
                callback=on_step,
            ),
            self._drawing,
        )

    def _load(self) -> None:
        try:
            self._loaded = load(self.served, self._base_dir)
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
    grids = [folder / "samples" / name if folder is not None else None for name in ("grid.png", "initializer.png")]
    grid, initializer = (path if path is not None and path.is_file() else None for path in grids)
    return Loaded(pipeline, grid, initializer)


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
    if isinstance(error, OSError):
        return f"{what} could not be fetched ({type(error).__name__}); check the network and restart the Space."
    return f"{what} could not be loaded: {error}"


def base_dir_of_environment() -> str | None:
    """Folder with the base model's weights, where the machine has them already (CONCEPTRY_BASE_DIR)."""
    return os.environ.get("CONCEPTRY_BASE_DIR") or None
