"""The fault table of training on Vertex AI: how many jobs there were, how it ended, and that nothing is left running.

fault                                      jobs   live at a time   the training                          the last job
the answer to create is lost               1      1                done                                  succeeded
... and listings lag behind                1      1                done                                  succeeded
create is refused for a while              1      1                done                                  succeeded
503 and 429 while polling                  1      1                done                                  succeeded
no answer for longer than patience         1      1                TransientError; a retry finds it      succeeded
the trainer refuses its input              1      1                TrainingError, exit code 2            failed
the service fails                          2      1                done                                  succeeded
stuck in PENDING                           1      1                TrainingError                         cancelled
preempted twice, restarted by Vertex AI    1      1                done, from its checkpoint             succeeded
preempted for good, twice                  3      1                done, from its checkpoint             succeeded
preempted for good, always                 4      1                TrainingError                         failed
the run is cancelled                       1      1                TrainingCancelled                     cancelled
ended by SIGTERM, not cancelled            1      1                goes on when it is started again      succeeded
kill -9 while sending                      1      1                goes on when it is started again      succeeded
kill -9 before create                      1      1                goes on when it is started again      succeeded
kill -9 after create                       1      1                goes on when it is started again      succeeded
kill -9 while results come                 1      1                goes on when it is started again      succeeded
two runs of one fingerprint                1      1                both done                             succeeded
... with nothing that guards create        1-2    1-2              both done                             succeeded
a result is damaged                        1      1                DataCorruptError                      succeeded
credentials expire and come back           1      1                done                                  succeeded
credentials expire for good                1      1                SettingsError; a retry finds the job  succeeded
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.cloud import storage
from google.oauth2.service_account import Credentials

from conceptry.errors import (
    ConceptryError,
    DataCorruptError,
    SettingsError,
    TrainingCancelled,
    TrainingError,
    TransientError,
)
from emulators.vertex.cloud import Cloud
from tasks.training.bucket import METRICS, Store
from tasks.training.renewed_bucket import RenewedBucket
from tests.support.vertex_trainings import Training
from tests.support.wait import wait_until

# Imports once, then forks for each training, so that it starts at once and can be killed.
FORKER = """
import os, sys, traceback
from tests.support.vertex_trainings import train_as_told
import google.cloud.aiplatform_v1, google.cloud.storage, prefect_gcp.cloud_storage
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            train_as_told(line)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Runs:
    """Trainings in processes of their own, one after the other."""

    def __init__(self, forker: "subprocess.Popen[str]") -> None:
        self._forker = forker

    def start(self, training: Training) -> int:
        assert self._forker.stdin is not None
        self._forker.stdin.write(training.spec() + "\n")
        self._forker.stdin.flush()
        return int(self.answer())

    def answer(self) -> str:
        """The next line that is a number; the others are what trainings tell."""
        assert self._forker.stdout is not None
        for line in self._forker.stdout:
            if line.strip().isdigit():
                return line.strip()
        raise AssertionError("the forker is gone")

    def kill(self, process: int, number: signal.Signals = signal.SIGKILL) -> None:
        os.kill(process, number)
        assert int(self.answer()) != 0, "it had ended before it could be killed"

    def go_on(self, training: Training) -> None:
        self.start(training)
        assert self.answer() == "0"


@pytest.fixture(scope="module")
def runs(one_cloud: Cloud) -> Iterator[Runs]:
    del one_cloud  # Its environment must be there first.
    root = Path(__file__).parents[2]
    forker = subprocess.Popen(
        [sys.executable, "-c", FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    )
    yield Runs(forker)
    forker.communicate()


def ended(training: Training, states: list[str], *, most_live: int = 1) -> None:
    """What every row of the table asserts."""
    assert training.states() == states
    assert training.most_live() == most_live
    assert training.running() == []


def test_the_answer_to_create_is_lost(cloud: Cloud, tmp_path: Path) -> None:
    cloud.faults.lose("CreateCustomJob")
    training = Training(cloud, tmp_path)
    training.run()
    ended(training, ["SUCCEEDED"])
    assert any("searching for the job" in text for text in training.warnings)


def test_the_answer_is_lost_and_listings_lag_behind(cloud: Cloud, tmp_path: Path) -> None:
    cloud.faults.lose("CreateCustomJob")
    cloud.faults.lag(0.3)
    training = Training(cloud, tmp_path, settings={"look_again_seconds": (0.1, 0.2, 0.4)})
    training.run()
    ended(training, ["SUCCEEDED"])


def test_create_is_refused_for_a_while(cloud: Cloud, tmp_path: Path) -> None:
    cloud.faults.refuse("CreateCustomJob", "RESOURCE_EXHAUSTED", 2, "Quota exceeded")
    cloud.faults.refuse("CreateCustomJob", "UNAVAILABLE", 1)
    training = Training(cloud, tmp_path)
    training.run()
    ended(training, ["SUCCEEDED"])


def test_unavailable_and_too_many_requests_while_polling(cloud: Cloud, tmp_path: Path) -> None:
    for code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"):
        cloud.faults.refuse("GetCustomJob", code, 1)
        cloud.faults.refuse("ListCustomJobs", code, 1)
    training = Training(cloud, tmp_path)
    training.run()
    ended(training, ["SUCCEEDED"])


def test_no_answer_for_longer_than_patience(cloud: Cloud, tmp_path: Path) -> None:
    cloud.faults.refuse("GetCustomJob", "UNAVAILABLE", 100)
    training = Training(cloud, tmp_path, settings={"patience_seconds": 0.3})
    with pytest.raises(TransientError, match="did not respond"):
        training.run()
    cloud.faults.clear()
    training.run()
    ended(training, ["SUCCEEDED"])


def test_the_trainer_refuses_its_input(cloud: Cloud, tmp_path: Path) -> None:
    training = Training(cloud, tmp_path, config={"steps": 1, "exit": 2})
    with pytest.raises(TrainingError, match=r"this will not do(?s:.*)console\.cloud\.google\.com"):
        training.run()
    ended(training, ["FAILED"])


def test_the_service_fails(cloud: Cloud, tmp_path: Path) -> None:
    cloud.faults.fail()
    training = Training(cloud, tmp_path)
    training.run()
    ended(training, ["FAILED", "SUCCEEDED"])


def test_stuck_in_pending(cloud: Cloud, tmp_path: Path) -> None:
    cloud.faults.hold()
    training = Training(cloud, tmp_path, settings={"pending_hours": 0.2 / 3600})
    with pytest.raises(TrainingError, match=r"no NVIDIA_TESLA_A100 was free in us-central1.*before it cost anything"):
        training.run()
    ended(training, ["CANCELLED"])


def test_preempted_twice_and_restarted(cloud: Cloud, tmp_path: Path) -> None:
    cloud.faults.preempt("*/checkpoints/latest.json", times=2)
    training = Training(cloud, tmp_path, config={"steps": 6, "pace": 0.15}, settings={"provisioning": "spot"})
    assert training.run().began_at > 0
    ended(training, ["SUCCEEDED"])
    assert training.told.count(f"job {training.open().jobs.of(training.order)[0].short} is running") >= 1
    steps = [one.step for one in training.progress]
    assert steps == sorted(steps)
    assert steps[-1] == 6


def test_preempted_for_good_twice(cloud: Cloud, tmp_path: Path) -> None:
    cloud.faults.preempt("*/checkpoints/latest.json", times=2, for_good=True)
    training = Training(cloud, tmp_path, config={"steps": 6, "pace": 0.15}, settings={"provisioning": "spot"})
    assert training.run().began_at > 0
    ended(training, ["FAILED", "FAILED", "SUCCEEDED"])
    assert "attempt 3 resumes" in "\n".join(training.told)


def test_preempted_for_good_always(cloud: Cloud, tmp_path: Path) -> None:
    cloud.faults.preempt("*/checkpoints/latest.json", times=9, for_good=True)
    training = Training(cloud, tmp_path, config={"steps": 99, "pace": 0.15}, settings={"provisioning": "spot"})
    with pytest.raises(TrainingError, match="4 jobs lost their machines"):
        training.run()
    ended(training, ["FAILED"] * 4)


def test_the_run_is_cancelled(cloud: Cloud, tmp_path: Path) -> None:
    training = Training(cloud, tmp_path, config={"steps": 9, "pace": 60})
    with pytest.raises(TrainingCancelled):
        training.run(is_cancelled=lambda: training.states() == ["RUNNING"])
    ended(training, ["CANCELLED"])


def test_ended_by_a_signal_but_not_cancelled(cloud: Cloud, tmp_path: Path, runs: Runs) -> None:
    training = Training(cloud, tmp_path, config={"steps": 5, "pace": 0.3})
    process = runs.start(training)
    wait_until(lambda: training.states() == ["RUNNING"])
    runs.kill(process, signal.SIGTERM)
    assert training.states() == ["RUNNING"], "what is paid for goes on"
    runs.go_on(training)
    ended(training, ["SUCCEEDED"])


def test_killed_while_sending(cloud: Cloud, tmp_path: Path, runs: Runs) -> None:
    training = Training(cloud, tmp_path, records=150)
    process = runs.start(training)
    wait_until(training.objects)
    runs.kill(process)
    assert 0 < len(training.objects()) < 150
    assert training.states() == []
    runs.go_on(training)
    ended(training, ["SUCCEEDED"])


def test_killed_before_create(cloud: Cloud, tmp_path: Path, runs: Runs) -> None:
    cloud.faults.refuse("CreateCustomJob", "RESOURCE_EXHAUSTED", 1000)
    training = Training(cloud, tmp_path)
    process = runs.start(training)
    wait_until(lambda: "config.json" in training.objects())
    runs.kill(process)
    assert training.states() == []
    cloud.faults.clear()
    runs.go_on(training)
    ended(training, ["SUCCEEDED"])


def test_killed_after_create(cloud: Cloud, tmp_path: Path, runs: Runs) -> None:
    cloud.faults.hold()
    training = Training(cloud, tmp_path)
    process = runs.start(training)
    wait_until(training.states)
    runs.kill(process)
    cloud.faults.release()
    runs.go_on(training)
    ended(training, ["SUCCEEDED"])


def test_killed_while_results_come(cloud: Cloud, tmp_path: Path, runs: Runs) -> None:
    training = Training(cloud, tmp_path, config={"steps": 1, "files": 60})
    process = runs.start(training)
    wait_until((tmp_path / "output.download").exists)
    runs.kill(process)
    assert not (tmp_path / "output").exists()
    runs.go_on(training)
    assert len(list((tmp_path / "output").glob("*.bin"))) == 60
    ended(training, ["SUCCEEDED"])


def at_once(*trainings: Training, **watching: object) -> None:
    """Run them in threads of their own."""
    errors: list[BaseException] = []

    def run(training: Training) -> None:
        try:
            training.run(**watching)
        except ConceptryError as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(training,)) for training in trainings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_two_runs_of_one_fingerprint(cloud: Cloud, tmp_path: Path) -> None:
    first = Training(cloud, tmp_path / "here")
    second = Training(cloud, tmp_path / "there", fingerprint=first.fingerprint)
    at_once(first, second)
    ended(first, ["SUCCEEDED"])
    assert (second.root / "output" / "metrics.json").read_bytes() == (
        first.root / "output" / "metrics.json"
    ).read_bytes()


def test_two_runs_of_one_fingerprint_and_nothing_guards_create(cloud: Cloud, tmp_path: Path) -> None:
    first = Training(cloud, tmp_path / "here", config={"steps": 3, "pace": 0.1})
    second = Training(cloud, tmp_path / "there", config=first.config, fingerprint=first.fingerprint)
    at_once(first, second, creation_guard=nullcontext)
    wait_until(lambda: sorted(first.states()) in (["SUCCEEDED"], ["CANCELLED", "SUCCEEDED"]))
    assert first.running() == []


def test_a_result_is_damaged(cloud: Cloud, tmp_path: Path) -> None:
    training = Training(cloud, tmp_path / "here")
    training.run()
    bucket = cloud.client().bucket(cloud.bucket)
    bucket.blob(training.order.prefix + "output/1.bin").upload_from_string("something else")
    again = Training(cloud, tmp_path / "there", fingerprint=training.fingerprint)
    with pytest.raises(DataCorruptError, match=r"first 1\.bin.*delete this object and retry"):
        again.run()
    ended(again, ["SUCCEEDED"])
    assert not (again.root / "output").exists()
    bucket.blob(training.order.prefix + METRICS).delete()
    assert again.run().began_at == 3, "the checkpoint is kept"
    ended(again, ["SUCCEEDED", "SUCCEEDED"])


def test_credentials_expire_and_come_back(cloud: Cloud, tmp_path: Path) -> None:
    cloud.faults.refuse("GetCustomJob", "UNAUTHENTICATED", 2)
    training = Training(cloud, tmp_path)
    training.run()
    ended(training, ["SUCCEEDED"])


def test_credentials_expire_for_good(cloud: Cloud, tmp_path: Path) -> None:
    cloud.faults.refuse("GetCustomJob", "UNAUTHENTICATED", 100)
    training = Training(cloud, tmp_path, settings={"patience_seconds": 0.3})
    with pytest.raises(SettingsError, match=r"credentials in the block 'conceptry'.*finds its live job again"):
        training.run()
    cloud.faults.clear()
    training.run()
    ended(training, ["SUCCEEDED"])


def test_credentials_are_refused_by_the_bucket(cloud: Cloud, tmp_path: Path) -> None:
    cloud.faults.refuse("token", "UNAUTHENTICATED", 100)
    training = Training(cloud, tmp_path)
    with pytest.raises(SettingsError, match="invalid_grant"):
        training.run()
    ended(training, [], most_live=0)


def test_credentials_of_the_bucket_are_read_again(cloud: Cloud) -> None:
    revoked, opened = {"token_uri": f"{cloud.web}/no-such-page"}, list[Any]()

    def open_bucket(**other: str) -> Any:
        """Without a token, which the first request fetches."""
        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        account = {**cloud.service_account, **other}
        credentials = Credentials.from_service_account_info(account, scopes=scopes)
        opened.append(storage.Client(project=cloud.project.name, credentials=credentials).bucket(cloud.bucket))
        return opened[-1]

    store = Store(RenewedBucket(open_bucket(**revoked), open_bucket), "conceptry/none/", "grey-cat")
    assert not store.has(METRICS)
    assert len(opened) == 2
    reopen = partial(open_bucket, **revoked)
    broken = Store(RenewedBucket(reopen(), reopen), "conceptry/none/", "grey-cat")
    with pytest.raises(SettingsError, match="Cloud Storage refused"):
        broken.has(METRICS)
    assert len(opened) == 4, "once more, and no more"
