"""Progress of a training in Prefect's UI, as a bar and as a picture of the loss, reported by a separate thread.

Nothing of the training waits for the Prefect server: during an outage its reports are dropped, and the next one after
it shows the progress of that moment.
"""

import contextvars
import threading
import time
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from tasks.prefect_client import SERVER_ERRORS, connected
from tasks.training.loss_curve import loss_curve
from tasks.training.training_request import Progress

EVERY = 5.0
"""Seconds between two reports."""
LAST = 10.0
"""Seconds for which the end of a training waits for its last report."""
POINTS = 400
"""Maximum of points in the picture of the loss; of more, every second one is dropped."""


class ProgressArtifact:
    """Progress bar on the run's page, and a log line every few seconds; use it as a context manager.

    Args:
        name: Name of the concept.
        suffix: Suffix of the artifact's key, which differs between installations on one Prefect server.
    """

    def __init__(self, name: str, suffix: str = "") -> None:
        self._name, self._suffix, self._logger = name, suffix, get_run_logger()
        self._percent, self._told, self._logged = 0.0, -1.0, 0.0
        self._losses: list[tuple[int, float]] = []
        self._of, self._drawn = 0, 0
        self._bar: UUID | None = None
        self._curve: UUID | None = None
        self._over = threading.Event()
        # The artifact belongs to the run and the task of the context.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._tell,), name="progress", daemon=True)

    def __enter__(self) -> "ProgressArtifact":
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._percent = 100.0  # a training may stop early
        self._over.set()
        self._thread.join(LAST)

    def show(self, progress: Progress) -> None:
        """Take note of the progress, and log it at most once every few seconds."""
        self._percent, self._of = 100 * progress.step / max(1, progress.of), progress.of
        losses = self._losses if len(self._losses) < POINTS else self._losses[::2]
        self._losses = [*losses, (progress.step, progress.loss)]
        if time.monotonic() - self._logged < EVERY and progress.step < progress.of:
            return
        self._logged = time.monotonic()
        done, seconds = f"step {progress.step} of {progress.of}", f"{progress.seconds:.0f} s"
        self._logger.info("%s, loss %.4f, %s", done, progress.loss, seconds)

    def log(self, event: Mapping[str, Any]) -> None:
        """Log an event of the trainer."""
        details = ", ".join(f"{key} {value}" for key, value in event.items() if key != "event")
        self._logger.info("trainer: %s%s", event.get("event"), f" ({details})" if details else "")

    def _tell(self) -> None:
        """Report the progress whenever it has changed, until the training is over."""
        with temporary_settings(updates={PREFECT_CLIENT_MAX_RETRIES: 0}):
            while True:
                over = self._over.is_set()
                try:
                    self._tell_percent(self._percent)
                    self._tell_losses(self._losses)
                except SERVER_ERRORS:
                    pass  # the next report shows the progress of its moment
                if over:
                    return
                self._over.wait(EVERY)

    def _tell_percent(self, percent: float) -> None:
        if self._bar is None:
            key, words = f"{self._name}-training{self._suffix}", f"Training {self._name}"
            self._bar = cast(UUID, create_progress_artifact(percent, key=key, description=words))
        elif percent != self._told:
            update_progress_artifact(self._bar, progress=percent)
        self._told = percent

    def _tell_losses(self, losses: list[tuple[int, float]]) -> None:
        if len(losses) < 2 or losses[-1][0] == self._drawn:
            return
        # Markdown, because the page of an image artifact also prints the address, here the whole picture.
        picture = f"![loss]({loss_curve(losses, self._of, f'{self._name}: loss by step, and its moving average')})"
        if self._curve is None:
            key, words = f"{self._name}-loss{self._suffix}", f"Loss while {self._name} is trained"
            self._curve = cast(UUID, create_markdown_artifact(picture, key=key, description=words))
        else:
            with connected() as client:
                client.update_artifact(self._curve, ArtifactUpdate(data=picture))
        self._drawn = losses[-1][0]
