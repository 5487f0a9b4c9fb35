"""Jobs that train several concepts: each training as if it were alone, whatever happens to the others."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.cloud.aiplatform_v1.types import CustomJob

from conceptry.errors import TrainingCancelled, TrainingError
from emulators.vertex.cloud import Cloud as Emulator
from tasks.training import TrainingRequest, custom_job, train_local
from tasks.training.bucket import clean_prefixes
from tasks.training.custom_job import SHARED, JobSpec
from tasks.training.job_trainings import end_training, live_trainings
from tasks.training.training_request import Progress
from tasks.training.vertex import Callbacks, end_jobs, train_vertex
from tasks.training.vertex_clients import Cloud
from tests.support.tiny_trainings import CRESCENT, HEART, digests, write_crescents
from tests.support.vertex_trainings import children, guard, open_emulator, vertex_settings
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="training servers need Linux")
ENDLESS = HEART | {"training": {"max_steps": 100_000, "early_stopping": False}}
INSTALLATION = "sharing"


@dataclass
class Shared(threading.Thread):
    """A training in a job that does others, too, in a thread; `returned` is its result or its error."""

    cloud: Emulator
    root: Path
    number: int
    config: dict[str, Any]
    settings: dict[str, Any]
    cancelled: threading.Event = field(default_factory=threading.Event)
    told: list[str] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    on_first_step: Callable[[], None] | None = None
    returned: Any = None

    def __post_init__(self) -> None:
        super().__init__()
        self.start()

    __hash__ = threading.Thread.__hash__

    @property
    def fingerprint(self) -> str:
        """It names the test as well, whose objects others do not see."""
        return f"{abs(hash(str(self.root))) % 16**8:08x}{self.number:056x}"

    @property
    def output(self) -> Path:
        return self.root / str(self.number) / "output"

    @property
    def order(self) -> JobSpec:
        return JobSpec(f"c-{self.number}", self.fingerprint, INSTALLATION, f"run-{self.number}", self.cloud.bucket)

    def open(self) -> Cloud:
        return open_emulator(
            vertex_settings(self.cloud, **self.settings), self.cloud.service_account, self.cloud.bucket
        )

    def show(self, progress: Progress) -> None:
        first, self.on_first_step = self.on_first_step, None
        self.progress.append(progress)
        if first is not None:
            first()

    def run(self) -> None:
        opened = self.open()
        callbacks = Callbacks(
            on_progress=self.show,
            log=self.told.append,
            is_cancelled=self.cancelled.is_set,
            creation_guard=guard(opened),
        )
        self.output.parent.mkdir(exist_ok=True)
        request = TrainingRequest(self.order.concept, self.config, self.root / "records", self.output)
        try:
            self.returned = train_vertex(request, self.order, opened, callbacks)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.returned = error

    def end(self, seconds: float = 240) -> Any:
        self.join(seconds)
        assert not self.is_alive(), self.told
        return self.returned


Begin = Callable[..., Shared]


@pytest.fixture
def begin(cloud: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Begin a training in a job of up to ten, which waits a second for another one."""
    monkeypatch.setattr(custom_job, "IDLE", 1.0)
    write_crescents(tmp_path / "records")
    begun: list[Shared] = []

    def begin_another(config: dict[str, Any] = HEART, **settings: Any) -> Shared:
        begun.append(Shared(cloud, tmp_path, len(begun), config, {"concepts_per_job": 10, "max_jobs": 1, **settings}))
        return begun[-1]

    yield begin_another
    for one in begun:
        one.cancelled.set()
    for one in begun:
        one.end()
    wait_until(lambda: not cloud.jobs.live())


def jobs_of(cloud: Emulator) -> list[CustomJob]:
    return [job for job in cloud.jobs.all() if SHARED in job.labels]


def servers() -> list[Any]:
    """The processes that train."""
    return [one for one in children() if "trainer.training_server" in one.cmdline()]


def kill_server() -> None:
    [server] = servers()
    os.kill(server.pid, signal.SIGKILL)


@pytest.mark.timeout(900)
def test_of_six_trainings_in_one_job_one_is_broken_one_cancelled_and_one_killed(
    cloud: Emulator, begin: Begin, tmp_path: Path
) -> None:
    before = len(jobs_of(cloud))
    six = {"concepts_per_job": 6}
    first = begin(HEART, **six)
    wait_until(lambda: first.progress, 120)
    broken, cancelled = begin(HEART | {"initializer_token": ""}, **six), begin(ENDLESS, **six)
    cancelled.on_first_step = cancelled.cancelled.set
    killed = begin(ENDLESS | {"training": ENDLESS["training"] | {"max_steps": 100}}, **six)
    killed.on_first_step = kill_server
    others = [begin(HEART, **six), begin(CRESCENT, **six)]

    assert isinstance(cancelled.end(), TrainingCancelled)
    assert isinstance(broken.end(), TrainingError)
    assert "initializer_token: '' must be a word" in str(broken.returned)
    for one in (first, *others, killed):
        assert one.end().steps, one.returned
    assert any("lost the process of this training" in text for text in killed.told)
    wait_until(lambda: not cloud.jobs.live())
    jobs = jobs_of(cloud)[before:]
    assert [job.state.name for job in jobs] == ["JOB_STATE_SUCCEEDED"] * len(jobs)
    assert len(jobs) == 2, "the seventh ticket is that of the killed one, in another job"
    wait_until(lambda: not servers())

    costs = [json.loads((one.output / "cost.json").read_text()) for one in (first, *others)]
    assert all(cost["jobs"] == [jobs[0].name] and cost["billed_seconds"] > 0 for cost in costs)
    assert sum(cost["billed_seconds"] for cost in costs) <= (jobs[0].end_time - jobs[0].start_time).total_seconds()

    alone = tmp_path / "alone" / "output"
    alone.parent.mkdir()
    train_local(TrainingRequest("c-0", HEART, tmp_path / "records", alone))
    expected = digests(alone)
    made = digests(others[0].output)
    compared = [name for name in expected if not name.startswith("checkpoints/")]
    assert {name: made.get(name) for name in compared} == {name: expected[name] for name in compared}


def test_a_training_joins_a_job_that_waits_for_a_machine_and_the_last_one_cancels_it(
    cloud: Emulator, begin: Begin
) -> None:
    cloud.faults.hold()
    first = begin()
    wait_until(lambda: any("pending" in text for text in first.told))
    second = begin()
    wait_until(lambda: any("does 1 other training" in text for text in second.told))
    first.cancelled.set()
    assert isinstance(first.end(), TrainingCancelled)
    [job] = cloud.jobs.live()
    second.cancelled.set()
    assert isinstance(second.end(), TrainingCancelled)
    assert cloud.jobs.get(job.name).state.name == "JOB_STATE_CANCELLED"


def test_what_a_live_job_is_to_do_is_kept_by_gc_and_ended_one_by_one(cloud: Emulator, begin: Begin) -> None:
    cloud.faults.hold()
    first, second = begin(), begin()
    wait_until(lambda: all(any("pending" in text for text in one.told) for one in (first, second)))
    opened = first.open()
    found = live_trainings(opened, INSTALLATION)
    assert sorted((one.concept, one.fingerprint, one.run) for one in found) == [
        (one.order.concept, one.fingerprint, one.order.run) for one in (first, second)
    ]
    kept = {one.fingerprint for one in found} | {found[0].job.home.rstrip("/").rpartition("/")[2]}
    after = found[0].asked.replace(year=2100)
    deleted = clean_prefixes(opened.bucket, INSTALLATION, lambda _, one: one in kept, before=after)
    assert not [uri for uri in deleted if any(one in uri for one in kept)]

    end_training(opened, INSTALLATION, next(one for one in found if one.concept == "c-0"))
    wait_until(lambda: "c-0" not in [one.concept for one in live_trainings(opened, INSTALLATION)])
    first.cancelled.set()
    assert [job.state for job in end_jobs(second.order, opened)] == ["CANCELLED"], "nobody else waits for it"
    second.cancelled.set()


def test_a_full_job_takes_no_more(cloud: Emulator, begin: Begin) -> None:
    cloud.faults.hold()
    first, second = begin(concepts_per_job=2), begin(concepts_per_job=2)
    wait_until(lambda: all(any("pending" in text for text in one.told) for one in (first, second)))
    third = begin(concepts_per_job=2)
    wait_until(lambda: any("waiting for a job to end" in text for text in third.told))
    assert len(cloud.jobs.live()) == 1


def test_a_job_of_other_settings_is_not_joined(cloud: Emulator, begin: Begin) -> None:
    cloud.faults.hold()
    first = begin(max_jobs=2)
    wait_until(lambda: any("pending" in text for text in first.told))
    second = begin(max_jobs=2, machine_type="a2-ultragpu-1g", accelerator_type="NVIDIA_A100_80GB")
    wait_until(lambda: any("pending" in text for text in second.told))
    assert len(cloud.jobs.live()) == 2


def test_who_comes_while_a_job_is_being_closed_begins_elsewhere(cloud: Emulator, begin: Begin) -> None:
    cloud.faults.hold()
    first = begin(max_jobs=2)
    wait_until(lambda: any("pending" in text for text in first.told))
    opened = first.open()
    [training] = live_trainings(opened, INSTALLATION)
    assert training.ticket is not None
    training.ticket.close()
    second = begin(max_jobs=2)
    wait_until(lambda: any("pending" in text for text in second.told))
    assert len(cloud.jobs.live()) == 2


def test_every_training_of_a_job_that_loses_its_machine_begins_again(cloud: Emulator, begin: Begin) -> None:
    before = len(jobs_of(cloud))
    cloud.faults.preempt("*/output/progress.jsonl", for_good=True)
    both = [begin(HEART), begin(CRESCENT)]
    assert all(one.end().steps for one in both), [one.told for one in both]
    wait_until(lambda: not cloud.jobs.live())
    states = [job.state.name.removeprefix("JOB_STATE_") for job in jobs_of(cloud)[before:]]
    assert states == ["FAILED", "SUCCEEDED"]


def test_a_job_that_vertex_ai_restarts_does_what_is_left(cloud: Emulator, begin: Begin) -> None:
    before = len(jobs_of(cloud))
    cloud.faults.preempt("*/ended/*")
    both = [begin(HEART), begin(CRESCENT)]
    assert all(one.end().steps for one in both), [one.told for one in both]
    wait_until(lambda: not cloud.jobs.live())
    [job] = jobs_of(cloud)[before:]
    assert job.state.name == "JOB_STATE_SUCCEEDED"
    costs = [json.loads((one.output / "cost.json").read_text()) for one in both]
    assert sum(cost["billed_seconds"] for cost in costs) <= (job.end_time - job.start_time).total_seconds()
