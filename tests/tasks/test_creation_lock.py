"""The lock under which a job is found or created: one holder, and none that was killed keeps it."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from conceptry.errors import TrainingCancelled, TransientError
from emulators.vertex.cloud import Cloud
from tasks.training import creation_lock
from tasks.training.creation_lock import CreationLock


@pytest.fixture
def bucket(cloud: Cloud) -> Any:
    return cloud.client().bucket(cloud.bucket)


@pytest.fixture
def installation() -> str:
    return f"tests-{secrets.token_hex(4)}"


@contextmanager
def killed(bucket: Any, installation: str) -> Iterator[None]:
    """A holder that stops renewing, as a process that was killed does."""
    lock = CreationLock(bucket, installation, "killed", lease=3600)
    holding = lock.held()
    holding.__enter__()
    yield


def test_one_holds_it_at_a_time(bucket: Any, installation: str) -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(3):
            with CreationLock(bucket, installation, "a run", lease=20, pause=0.02).held():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.05)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_a_holder_that_was_killed_does_not_keep_it(bucket: Any, installation: str) -> None:
    with killed(bucket, installation):
        begin = time.monotonic()
        with CreationLock(bucket, installation, "the next", lease=0.5, pause=0.02).held():
            assert 0.5 < time.monotonic() - begin < 10
    with CreationLock(bucket, installation, "the next but one", lease=3600, pause=0.02).held():
        pass


def test_a_holder_that_takes_long_keeps_it(bucket: Any, installation: str) -> None:
    waiting, got = CreationLock(bucket, installation, "waits", lease=1.5, pause=0.02), threading.Event()

    def wait() -> None:
        with waiting.held():
            got.set()

    with CreationLock(bucket, installation, "slow", lease=0.6, pause=0.02).held():
        thread = threading.Thread(target=wait)
        thread.start()
        assert not got.wait(4), "it is renewed"
    assert got.wait(10), "it is released"
    thread.join()


def test_who_was_taken_over_releases_nothing(bucket: Any, installation: str) -> None:
    late = CreationLock(bucket, installation, "late", lease=3600).held()
    late.__enter__()
    with CreationLock(bucket, installation, "next", lease=0.3, pause=0.02).held():
        late.__exit__(None, None, None)
        third = CreationLock(bucket, installation, "third", lease=3600, pause=0.02, stop=stop_at(3))
        with pytest.raises(TrainingCancelled):
            third.held().__enter__()


def stop_at(looks: int) -> Any:
    left = [looks]

    def stop() -> None:
        left[0] -= 1
        if not left[0]:
            raise TrainingCancelled("cancelled while it waited")

    return stop


def test_a_wait_ends(bucket: Any, installation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(creation_lock, "LONGEST", 0.3)
    waits = CreationLock(bucket, installation, "waits", lease=3600, pause=0.02)
    with killed(bucket, installation), pytest.raises(TransientError, match="was held by others"):
        waits.held().__enter__()
