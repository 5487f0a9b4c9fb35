"""Lock in the bucket under which one run at a time, on any machine, finds or creates a job of an installation.

    gs://BUCKET/conceptry-locks/INSTALLATION      what its holder wrote; empty while nobody holds it

Every write names the generation that it replaces, so of several writers one succeeds. The holder writes anew every few
seconds. Whoever waits measures by its own clock for how long the object has stayed the same, and takes the lock over
after `LEASE`: no clocks are compared, and a holder that was killed cannot keep it. Prefect's concurrency limits are not
used: a request that ends while its server assigns a slot leaves the slot occupied without a lease, for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from google.api_core import exceptions as google

from conceptry.errors import TransientError
from tasks.training.bucket import CALL_SECONDS, storage_errors
from tasks.training.custom_job import label
from tasks.training.renewed_bucket import renewing

FOLDER = "conceptry-locks"
LEASE = 20.0
"""Seconds after which a lock that did not change is taken over; the holder renews it in a third of that."""
PAUSE = 1.0
"""Seconds between two looks of a run that waits; Cloud Storage allows one write of an object a second."""
LONGEST = 1800.0
"""Seconds after which a run gives up, to be tried again: many creations of jobs in a row."""


class CreationLock:
    """Lock of one installation.

    Args:
        bucket: Bucket of google-cloud-storage.
        installation: Id of the installation.
        holder: What to write into the object, for people.
        lease: Seconds after which a lock that did not change is taken over.
        pause: Seconds between two looks.
        stop: Called before each look; raises to end the wait.
    """

    def __init__(
        self,
        bucket: Any,
        installation: str,
        holder: str,
        *,
        lease: float = LEASE,
        pause: float = PAUSE,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.bucket, self._holder, self._lease, self._pause, self._stop = bucket, holder, lease, pause, stop
        self._name = f"{FOLDER}/{label(installation)}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock within the block.

        Raises:
            SettingsError, TransientError: the bucket cannot be read or written, or others hold the lock for too long.
        """
        renewal, over = _Renewal(self._write, self._holder, self._acquire()), threading.Event()
        thread = threading.Thread(target=renewal.run, args=(over, self._lease / 3), name="creation lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(CALL_SECONDS)
            renewal.write("")  # if this fails, whoever waits takes over

    @renewing
    def _acquire(self) -> int:
        """Wait for the lock and take it; return the generation that says so."""
        begin = since = time.monotonic()
        seen: int | None = None
        while time.monotonic() - begin < LONGEST:
            self._stop()
            generation, held = self._read()
            if generation != seen:
                seen, since = generation, time.monotonic()
            if not held or time.monotonic() - since > self._lease:
                taken = self._take(generation)
                if taken is not None:
                    return taken
            else:
                time.sleep(self._pause)
        raise TransientError(f"{self._uri} was held by others for {LONGEST / 60:.0f} minutes")

    @property
    def _uri(self) -> str:
        return f"gs://{self.bucket.name}/{self._name}"

    def _read(self) -> tuple[int, bool]:
        """Return the generation of the object, 0 if it does not exist, and whether somebody holds the lock."""
        with storage_errors(None, self._uri):
            blob = self.bucket.get_blob(self._name, timeout=CALL_SECONDS)
        return (0, False) if blob is None else (int(blob.generation), bool(blob.size))

    def _take(self, generation: int) -> int | None:
        """Replace a generation by this holder's; return None if another run was faster."""
        with storage_errors(None, self._uri):
            try:
                return self._write(self._holder, generation)
            except google.PreconditionFailed:
                return None

    def _write(self, content: str, generation: int) -> int:
        """Replace a generation of the object, and return the new one."""
        blob = self.bucket.blob(self._name)
        blob.upload_from_string(content, "text/plain", if_generation_match=generation, timeout=CALL_SECONDS)
        return int(blob.generation)


class _Renewal:
    """Writes of the holder, each of which replaces the one before."""

    def __init__(self, write: Callable[[str, int], int], holder: str, generation: int) -> None:
        self._write, self._holder, self._generation = write, holder, generation

    def run(self, over: threading.Event, every: float) -> None:
        """Write every so many seconds, until it is over."""
        while not over.wait(every):
            self.write(self._holder)

    def write(self, content: str) -> None:
        """Write once; a failure is no error, since the lock ends by itself."""
        with suppress(Exception):
            self._generation = self._write(content, self._generation)
