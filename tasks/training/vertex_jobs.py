"""Jobs on Vertex AI through the JobService client: find, create, read and cancel. Never two for one training.

Vertex AI accepts no request id, so a create whose response was lost may have made a job. Each request therefore has a
unique label (`conceptry_attempt`), by which the job is searched after an ambiguous error before another one is created.
If two runs still create jobs at the same moment, both see both jobs and keep the older one.
"""

import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn, Protocol, TypeVar

from google.api_core import exceptions as google
from google.auth.exceptions import GoogleAuthError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_before_delay, wait_exponential

from conceptry.errors import ConceptryError, SettingsError, TrainingError, TransientError
from conceptry.vertex_settings import VertexSettings
from tasks.training.custom_job import ATTEMPT, FINGERPRINT, INSTALLATION, JobSpec, custom_job, label
from tasks.training.job_places import Place, Places
from tasks.training.job_snapshot import ENDED, Job, snapshot

T = TypeVar("T")
CALL_SECONDS = 60.0
"""Seconds. The client library sets no time-out, and a call could block forever."""
LONGEST_PAUSE = 30.0
_LIVE = " AND ".join(f'state!="JOB_STATE_{state}"' for state in sorted(ENDED))

AMBIGUOUS = (
    google.ServiceUnavailable,
    google.DeadlineExceeded,
    google.InternalServerError,
    google.BadGateway,
    google.Unknown,
    google.Aborted,
    google.Cancelled,
    google.RetryError,
)
"""Errors after which the request may have been carried out."""
CERTAIN = (google.TooManyRequests,)
"""Errors of requests that were not carried out and may succeed later."""
UNKNOWN_CALLER = (google.Unauthenticated, GoogleAuthError)


class Sharing(Protocol):
    """How a training uses jobs together with others; see `shared_jobs`."""

    def find(self, live: list[Job]) -> Job | None:
        """Return the live job that is to do the training, of all live jobs."""

    def join(self, live: list[Job]) -> Job | None:
        """Have one of the live jobs do the training, and return it; None if that is not possible."""

    def payload(self, attempt: str) -> dict[str, Any]:
        """Return the job to create, with the id of the request."""


class VertexJobs:
    """Jobs in the project and region of the settings, and in those of earlier settings.

    Args:
        settings: Settings of training on Vertex AI.
        connect: Returns a client for the address of JobService in a region; called again if the credentials are
            refused, because they may have been renewed.
        warn: Called with warnings for the user.
        places: Returns the record of the places in which an installation created jobs.
    """

    def __init__(
        self,
        settings: VertexSettings,
        connect: Callable[[str], Any],
        warn: Callable[[str], None] = lambda _: None,
        *,
        places: Callable[[str], Places],
    ) -> None:
        self._settings, self._connect, self._warn, self._places = settings, connect, warn, places
        self._place = Place(settings.project, settings.region)
        self._connected: dict[str, Any] = {}

    def of(self, spec: JobSpec) -> list[Job]:
        """Return all jobs of a training, in any state, the oldest first."""
        return self._list(f'labels.{FINGERPRINT}="{label(spec.fingerprint)}"', spec.installation)

    def of_attempt(self, attempt: str, installation: str) -> list[Job]:
        """Return the jobs that a request created, by its id: one, or none."""
        return self._list(f'labels.{ATTEMPT}="{attempt}"', installation)

    def live(self, installation: str) -> list[Job]:
        """Return all live jobs of an installation, the oldest first."""
        return [job for job in self._list(_LIVE, installation) if job.live]

    def find_or_create(
        self,
        spec: JobSpec,
        *,
        sharing: Sharing | None = None,
        guard: Callable[[], AbstractContextManager[Any]] = nullcontext,
        on_wait: Callable[[], None] = lambda: None,
        stop: Callable[[], None] = lambda: None,
        done: Callable[[], bool] = lambda: False,
    ) -> Job | None:
        """Return the live job of a training, else create one; None if the results exist.

        Args:
            spec: Purpose of the job.
            sharing: How the training uses jobs together with others; None if it does not.
            guard: Lock to hold while the job is found or created.
            on_wait: Called once if the maximum of live jobs is reached.
            stop: Called before each attempt; raises to end the wait.
            done: Returns whether the results exist; called after live jobs were listed, so that the results of a job
                which ended in between are found.
        """
        notified = False
        while True:
            stop()
            with guard():
                everyone = self.live(spec.installation)
                mine = [job for job in everyone if job.labels.get(FINGERPRINT) == label(spec.fingerprint)]
                if mine:
                    return self.keep_one(mine)
                if sharing and (found := sharing.find(everyone)):
                    return found
                if done():
                    return None
                if sharing and (joined := sharing.join(everyone)):
                    return joined
                if len(everyone) < self._settings.max_jobs:
                    return self._create(spec, sharing)
            if not notified:
                on_wait()
            notified = True
            time.sleep(self._settings.poll_seconds)

    def get(self, name: str) -> Job:
        """Return the current state of one job.

        Raises:
            TrainingError: the job was deleted.
            TransientError, SettingsError: as `find_or_create`.
        """
        place = Place.of_job(name)
        return self._call(
            "read a job", lambda client: snapshot(client.get_custom_job(name=name, timeout=CALL_SECONDS)), place
        )

    def end(self, job: Job) -> Job:
        """Cancel a job, wait until it has ended, and return its final state; do nothing if it has ended already."""
        while True:
            job = self.get(job.name)
            if not job.live:
                return job
            if job.state != "CANCELLING":
                self.cancel(job)
            time.sleep(min(self._settings.poll_seconds, 5.0))

    def cancel(self, job: Job) -> None:
        """Request the cancellation of a job; do nothing if it has ended already."""

        def call(client: Any) -> None:
            try:
                client.cancel_custom_job(name=job.name, timeout=CALL_SECONDS)
            except google.FailedPrecondition:
                return

        self._call("cancel a job", call, Place.of_job(job.name))

    def _create(self, spec: JobSpec, sharing: Sharing | None) -> Job:
        self._places(spec.installation).add(self._place)
        attempt = uuid.uuid4().hex[:12]
        payload = sharing.payload(attempt) if sharing else custom_job(spec, self._settings, attempt)

        def create(client: Any) -> Job:
            try:
                made = client.create_custom_job(
                    parent=self._place.parent, custom_job=payload, timeout=CALL_SECONDS, retry=None
                )
            except AMBIGUOUS as error:
                if found := self._look_again(spec, attempt, error):
                    return self.keep_one(found)
                raise
            created = snapshot(made)
            if sharing and (shared := sharing.find([created, *self.live(spec.installation)])):
                return shared
            return self.keep_one([created, *(job for job in self.of(spec) if job.live)])

        return self._call("create a job", create, self._place)

    def _look_again(self, spec: JobSpec, attempt: str, error: Exception) -> list[Job]:
        """Search repeatedly for the job of a create whose response was lost, because a listing may lag behind."""
        self._warn(f"the response to create was lost ({_first_line(error)}); searching for the job")
        for pause in self._settings.look_again_seconds:
            time.sleep(pause)
            found = self.of_attempt(attempt, spec.installation)
            if found:
                return found
        return []

    def keep_one(self, jobs: list[Job]) -> Job:
        """Return the oldest of several live jobs of one training, and cancel the others."""
        unique = {job.name: job for job in jobs}
        first, *others = sorted(unique.values(), key=lambda job: (not job.live, job.created, job.name))
        for job in others:
            if job.live:
                self._warn(f"cancelling job {job.short}, a duplicate of {first.short}")
                self.cancel(job)
        return first

    def _list(self, text: str, installation: str) -> list[Job]:
        """Return the jobs of an installation that match a filter, the oldest first."""
        text = f"{text} AND {_ours(installation)}"
        found = self._list_in(self._place, text)
        for place in self._places(installation).read():
            if place != self._place:
                try:
                    found += self._list_in(place, text)
                except SettingsError as error:
                    # A project that was deleted, or that the account may not see any more.
                    self._warn(f"jobs in {place.project}, {place.region} were not looked for: {error}")
        return sorted(found, key=lambda job: (job.created, job.name))

    def _list_in(self, place: Place, text: str) -> list[Job]:
        request = {"parent": place.parent, "filter": text, "page_size": 100}
        return self._call(
            "list jobs",
            lambda client: [snapshot(job) for job in client.list_custom_jobs(request=request, timeout=CALL_SECONDS)],
            place,
        )

    def _call(self, what: str, call: Callable[[Any], T], place: Place) -> T:
        """Make a call, and retry it with exponential back-off while its error is transient.

        Raises:
            TransientError: the error persisted for `patience_seconds`.
            SettingsError: Vertex AI refused the call or the credentials.
        """

        def before_sleep(state: RetryCallState) -> None:
            error = _error(state)
            if isinstance(error, UNKNOWN_CALLER):
                self._connected.pop(self._endpoint(place), None)
            pause = state.next_action.sleep if state.next_action else 0.0
            self._warn(f"could not {what} ({_first_line(error)}); retrying in {pause:.0f} s")

        def give_up(state: RetryCallState) -> NoReturn:
            """Raise the error that the caller of an exhausted retry gets."""
            error = _error(state)
            raise self._exhausted(what, error) from error

        retrying = Retrying(
            retry=retry_if_exception_type((*AMBIGUOUS, *CERTAIN, *UNKNOWN_CALLER)),
            wait=wait_exponential(multiplier=min(1.0, self._settings.poll_seconds), max=LONGEST_PAUSE),
            stop=stop_before_delay(self._settings.patience_seconds),
            before_sleep=before_sleep,
            retry_error_callback=give_up,
        )
        try:
            return retrying(lambda: call(self._client(place)))
        except google.GoogleAPICallError as error:
            raise self._refused(what, error) from error

    def _client(self, place: Place) -> Any:
        endpoint = self._endpoint(place)
        if endpoint not in self._connected:
            self._connected[endpoint] = self._connect(endpoint)
        return self._connected[endpoint]

    def _endpoint(self, place: Place) -> str:
        return self._settings.endpoint_in(place.region)

    def _refused(self, what: str, error: Exception) -> ConceptryError:
        message = f"Vertex AI refused to {what}: {_first_line(error)}"
        if isinstance(error, google.NotFound) and what == "read a job":
            return TrainingError("its job was deleted on Vertex AI", next_step="retry the run")
        return SettingsError(message, next_step="run `conceptry setup gcp` to see what is missing")

    def _exhausted(self, what: str, error: BaseException) -> ConceptryError:
        if isinstance(error, UNKNOWN_CALLER):
            return SettingsError(
                f"Google refuses the credentials in the block {self._settings.credentials!r} "
                f"(could not {what}: {_first_line(error)})",
                next_step="register valid ones with `conceptry setup gcp` and retry the run, "
                "which finds its live job again",
            )
        return TransientError(f"Vertex AI did not respond (could not {what}: {_first_line(error)})")


def _ours(installation: str) -> str:
    return f'labels.{INSTALLATION}="{label(installation)}"'


def _error(state: RetryCallState) -> BaseException:
    """Return the error of a failed call."""
    error = state.outcome.exception() if state.outcome else None
    assert error is not None
    return error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
