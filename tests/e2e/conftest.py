"""One `conceptry up` for all stories; each has a concept of its own in the same repository."""

import re
import signal
from collections.abc import Iterator

import psutil
import pytest

from local.child_process import answers
from tests.support.library import Library
from tests.support.up_process import start_up


@pytest.fixture(scope="package")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A user's repository whose `conceptry up` runs in another terminal, until Ctrl-C, which leaves nothing behind."""
    library = Library(tmp_path_factory.mktemp("e2e"))
    up, library.greeting = start_up(library.clone)
    library.up = up.pid
    try:
        yield library
        family = psutil.Process(up.pid).children(recursive=True)
        up.send_signal(signal.SIGINT)
        rest = up.communicate(timeout=60)[0]
        assert up.returncode == 0, rest
        assert "no process is left running" in rest
        if library.spec("night-light").exists():
            assert re.search(r"(?m)^\d\d:\d\d:\d\d  night-light +v1 released  http://\S+$", rest)
    finally:
        up.kill()
        up.communicate()
    assert [process for process in family if process.is_running()] == []
    assert not answers(library.setup.prefect_ui)
