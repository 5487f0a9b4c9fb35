"""Jobs on Vertex AI through an unmodified JobService client: find, create, look, end. Never two for one training.

Vertex AI takes no request id, so a create whose answer was lost may have made a job. Each request therefore carries a
label of its own (`conceptry_attempt`), and after an ambiguous error the job is looked for by it before another one is
asked for. If two runs create at the same moment all the same, both see both jobs, and both keep the older one.
"""

import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

from google.api_core import exceptions as google
from google.auth.exceptions import GoogleAuthError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_before_delay, wait_exponential

from conceptry.errors import ConceptryError, SettingsError, TrainingError, TransientError
from conceptry.vertex_settings import VertexSettings
from tasks.training.cost import Use
from tasks.training.custom_job import ATTEMPT, FINGERPRINT, INSTALLATION, JobSpec, custom_job, label

T = TypeVar("T")
CALL_SECONDS = 60.0
"""The client library sets no limit of its own, and a call would wait for ever."""
LONGEST_PAUSE = 30.0
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED"})
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
"""The request may have been carried out."""
CERTAIN = (google.TooManyRequests,)
"""It was not, and may be later."""
UNKNOWN_CALLER = (google.Unauthenticated, GoogleAuthError)


@dataclass(frozen=True)
class Job:
    """A job as it was when it was looked at; `state` is without its JOB_STATE_."""

    name: str
    state: str
    display_name: str
    labels: dict[str, str]
    created: datetime
    started: datetime | None
    ended: datetime | None
    code: int
    message: str
    home: str
    machine_type: str
    accelerator_type: str | None
    accelerator_count: int
    replicas: int

    @property
    def live(self) -> bool:
        """Whether it costs money, or may yet."""
        return self.state not in ENDED

    @property
    def short(self) -> str:
        """The last part of its name."""
        return self.name.rpartition("/")[2]

    def use(self) -> Use:
        """What it used up to now."""
        end = self.ended or datetime.now(UTC)
        seconds = (end - self.started).total_seconds() if self.started else 0.0
        billed = self.state not in ("FAILED", "EXPIRED")
        return Use(
            self.short, self.machine_type, self.accelerator_type, self.accelerator_count, self.replicas, seconds, billed
        )


class VertexJobs:
    """The jobs of one project and region.

    Args:
        settings: of training on Vertex AI.
        connect: makes a client; it is called again when the credentials are refused, in case there are new ones.
        warn: is told what a person should know.
    """

    def __init__(
        self, settings: VertexSettings, connect: Callable[[], Any], warn: Callable[[str], None] = lambda _: None
    ) -> None:
        self._settings, self._connect, self._warn = settings, connect, warn
        self._connected: Any = None

    def of(self, spec: JobSpec) -> list[Job]:
        """All jobs of a training, whatever became of them, the oldest first."""
        return self._list(f'labels.{FINGERPRINT}="{label(spec.fingerprint)}" AND {_ours(spec.installation)}')

    def live(self, installation: str) -> list[Job]:
        """All live jobs of an installation, the oldest first."""
        return [job for job in self._list(f"{_ours(installation)} AND {_LIVE}") if job.live]

    def find_or_create(
        self,
        spec: JobSpec,
        *,
        guard: Callable[[], AbstractContextManager[Any]] = nullcontext,
        on_wait: Callable[[], None] = lambda: None,
        stop: Callable[[], None] = lambda: None,
        done: Callable[[], bool] = lambda: False,
    ) -> Job | None:
        """The live job of a training: the one that there is, else a new one; None when none is needed any more.

        Args:
            spec: what it is for.
            guard: held while it is looked for and created, so that others look afterwards.
            on_wait: called once when as many jobs are live as there may be.
            stop: called before each look; raises when there is no use in waiting any longer.
            done: whether the results are there. Asked after the look for live jobs: one that has ended since somebody
                asked last has left them.
        """
        told = False
        while True:
            stop()
            with guard():
                everyone = self.live(spec.installation)
                mine = [job for job in everyone if job.labels.get(FINGERPRINT) == label(spec.fingerprint)]
                if mine:
                    return self.keep_one(mine)
                if done():
                    return None
                if len(everyone) < self._settings.max_jobs:
                    return self._create(spec)
            if not told:
                on_wait()
            told = True
            time.sleep(self._settings.poll_seconds)

    def get(self, name: str) -> Job:
        """One job as it is now.

        Raises:
            TrainingError: it was deleted.
        """
        return self._patiently("look at a job", lambda client: client.get_custom_job(name=name, timeout=CALL_SECONDS))

    def end(self, job: Job) -> Job:
        """Cancel a job and wait until it has ended; one that has ended already stays as it is."""
        while True:
            job = self.get(job.name)
            if not job.live:
                return job
            if job.state != "CANCELLING":
                self.cancel(job)
            time.sleep(min(self._settings.poll_seconds, 5.0))

    def cancel(self, job: Job) -> None:
        """Ask for a job's end. A job that has ended meanwhile is no error."""

        def call(client: Any) -> None:
            try:
                client.cancel_custom_job(name=job.name, timeout=CALL_SECONDS)
            except google.FailedPrecondition:
                return

        self._call("cancel a job", call)

    def _create(self, spec: JobSpec) -> Job:
        attempt = uuid.uuid4().hex[:12]
        payload = custom_job(spec, self._settings, attempt)

        def create(client: Any) -> Job:
            try:
                made = client.create_custom_job(
                    parent=self._settings.parent, custom_job=payload, timeout=CALL_SECONDS, retry=None
                )
            except AMBIGUOUS as error:
                if found := self._look_again(spec, attempt, error):
                    return self.keep_one(found)
                raise
            return self.keep_one([_job(made), *(job for job in self.of(spec) if job.live)])

        return self._call("create a job", create)

    def _look_again(self, spec: JobSpec, attempt: str, error: Exception) -> list[Job]:
        """Look for the job of a create whose answer was lost; a listing may lag behind."""
        self._warn(f"the answer to create was lost ({_first_line(error)}); looking whether there is a job")
        for pause in self._settings.look_again_seconds:
            time.sleep(pause)
            found = self._list(f'labels.{ATTEMPT}="{attempt}" AND {_ours(spec.installation)}')
            if found:
                return found
        return []

    def keep_one(self, jobs: list[Job]) -> Job:
        """The oldest of several live jobs of one training; the others are cancelled, whoever made them."""
        unique = {job.name: job for job in jobs}
        first, *others = sorted(unique.values(), key=lambda job: (not job.live, job.created, job.name))
        for job in others:
            if job.live:
                self._warn(f"job {job.short} is one too many and is cancelled; {first.short} goes on")
                self.cancel(job)
        return first

    def _list(self, text: str) -> list[Job]:
        request = {"parent": self._settings.parent, "filter": text, "page_size": 100}
        found = self._call(
            "list jobs",
            lambda client: [_job(job) for job in client.list_custom_jobs(request=request, timeout=CALL_SECONDS)],
        )
        return sorted(found, key=lambda job: (job.created, job.name))

    def _patiently(self, what: str, call: Callable[[Any], Any]) -> Job:
        return self._call(what, lambda client: _job(call(client)))

    def _call(self, what: str, call: Callable[[Any], T]) -> T:
        """Make a call, and repeat it with pauses that double while its error can pass.

        Raises:
            TransientError, SettingsError: the error did not pass within the settings' patience, or cannot pass.
        """

        def before_sleep(state: RetryCallState) -> None:
            error = _error(state)
            if isinstance(error, UNKNOWN_CALLER):
                self._connected = None
            pause = state.next_action.sleep if state.next_action else 0.0
            self._warn(f"could not {what} ({_first_line(error)}); trying again in {pause:.0f} s")

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
            return retrying(lambda: call(self._client()))
        except google.GoogleAPICallError as error:
            raise self._refused(what, error) from error

    def _client(self) -> Any:
        if self._connected is None:
            self._connected = self._connect()
        return self._connected

    def _refused(self, what: str, error: Exception) -> ConceptryError:
        told = f"Vertex AI refused to {what}: {_first_line(error)}"
        if isinstance(error, google.NotFound) and what == "look at a job":
            return TrainingError("somebody deleted its job on Vertex AI", next_step="run it again")
        return SettingsError(told, next_step="`conceptry setup gcp` says what is missing")

    def _exhausted(self, what: str, error: BaseException) -> ConceptryError:
        if isinstance(error, UNKNOWN_CALLER):
            return SettingsError(
                f"Google does not take the credentials in the block {self._settings.credentials!r} any more "
                f"(could not {what}: {_first_line(error)})",
                next_step="put valid ones into it with `conceptry setup gcp` and retry the run; "
                "a job that is at work is found again then",
            )
        return TransientError(f"Vertex AI did not answer (could not {what}: {_first_line(error)})")


def _ours(installation: str) -> str:
    return f'labels.{INSTALLATION}="{label(installation)}"'


def _error(state: RetryCallState) -> BaseException:
    """Return the error of a call that is to be repeated."""
    error = state.outcome.exception() if state.outcome else None
    assert error is not None
    return error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _job(job: Any) -> Job:
    pools = job.job_spec.worker_pool_specs
    machine = pools[0].machine_spec if pools else None
    accelerator = machine.accelerator_type.name if machine and machine.accelerator_type else None
    return Job(
        name=job.name,
        state=job.state.name.removeprefix("JOB_STATE_"),
        display_name=job.display_name,
        labels=dict(job.labels),
        created=_moment(job.create_time) or datetime.now(UTC),
        started=_moment(job.start_time),
        ended=_moment(job.end_time),
        code=int(job.error.code) if job.error else 0,
        message=str(job.error.message) if job.error else "",
        home=job.job_spec.base_output_directory.output_uri_prefix,
        machine_type=machine.machine_type if machine else "",
        accelerator_type=accelerator,
        accelerator_count=int(machine.accelerator_count) if machine else 0,
        replicas=sum(int(pool.replica_count) for pool in pools),
    )


def _moment(stamp: Any) -> datetime | None:
    return datetime.fromtimestamp(stamp.timestamp(), UTC) if stamp else None
