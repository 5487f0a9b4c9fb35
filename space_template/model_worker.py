"""The model behind the Playground: loaded once, in the background, while the page is already there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

from huggingface_hub.errors import HfHubHTTPError

from space_template.job import Job
from space_template.loading import (
    Loaded,
    ModelUnavailableError,
    explain,
    free_memory,
    load,
    other_version,
    too_little_memory,
)
from space_template.request import DrawingRequest
from space_template.settings import SpaceSettings

LOG = logging.getLogger(__name__)


class ModelWorker:
    """Loads the released version and draws with it, one job at a time; earlier versions are fetched when asked for.

    Call `start` once; `begin` waits until the model is there.
    """

    def __init__(self, settings: SpaceSettings, *, base_dir: str | None = None) -> None:
        self.settings = settings
        self._base_dir = base_dir
        self._done = threading.Event()
        self._drawing = threading.Lock()
        self._loaded: Loaded | None = None
        self._problem: str | None = None
        self._told = ""
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

    def progress(self, every: float = 0.5) -> Iterator[str]:
        """Tell what is being fetched, whenever that has changed, until the model is there or cannot be had."""
        said = ""
        while not self._done.wait(every):
            if self._told != said:
                said = self._told
                yield said

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

    def begin(self, request: DrawingRequest, version: str = "") -> Job:
        """Begin to draw in a thread; the job tells how far it is and can be stopped.

        Args:
            request: What to draw.
            version: Another version than the released one, for example v1; its own token stands in for the prompt's.

        Raises:
            ModelUnavailableError: there is no model, or no such version.
        """
        pipeline = self.wait().pipeline
        prompt, negative = request.prompt, request.negative
        if version:
            pipeline, token = self._version(version)
            prompt, negative = (text.replace(self.settings.placeholder_token, token) for text in (prompt, negative))
        width, height = request.sides
        return Job(
            lambda on_step: pipeline.draw(
                prompt,
                negative_prompt=negative,
                num_images=request.pictures,
                steps=request.steps,
                guidance_scale=request.guidance,
                seed=request.seed,
                width=width,
                height=height,
                callback=on_step,
            ),
            self._drawing,
        )

    def _version(self, name: str) -> tuple[Any, str]:
        """Fetch the pipeline and the token of another version; later calls return the same."""
        loaded = self.wait()
        revision = loaded.versions.get(name)
        if revision is None:
            raise ModelUnavailableError(
                f"There is no version {name}; there are {', '.join(loaded.versions) or 'none'}."
            )
        with self._fetching:
            if name not in self._others:
                try:
                    self._others[name] = other_version(self.settings, loaded.pipeline, revision)
                except (HfHubHTTPError, OSError, ValueError, KeyError) as error:
                    raise ModelUnavailableError(f"{name} cannot be compared: {error}") from error
            return self._others[name]

    def _load(self) -> None:
        try:
            self._problem = too_little_memory(self.settings.base_model, free_memory())
            if self._problem is None:
                loaded = load(self.settings, self._base_dir, self._tell)
                # The first request shall not wait for compilation.
                loaded.pipeline.warm_up()
                self._loaded = loaded
        except MemoryError:
            self._problem = "This machine has too little memory for the base model: ask for larger hardware."
        except Exception as error:  # whatever it was, the page must say so
            LOG.exception("cannot load %s", self.settings.model_repo)
            self._problem = explain(error, self.settings)
        finally:
            self._done.set()

    def _tell(self, name: str, have: int, of: int | None) -> None:
        whole = f" of {of / 1e6:,.0f}" if of else ""
        self._told = f"{name}, {have / 1e6:,.0f}{whole} MB" if have != of else ""
