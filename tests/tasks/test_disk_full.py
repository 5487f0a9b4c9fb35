"""A full disk is told as one, and what failed for it may be tried again."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import Task
from prefect.client.schemas.objects import State
from prefect.states import Failed

from tasks import git
from tasks.disk_full import DiskFullError, disk_errors
from tasks.dvc import Remote
from tasks.retries import is_transient
from tasks.training.local_trainer import failure

# A device of Linux on which every write ends with "No space left on device". Only ever open it: code that writes a file
# beside its target and renames it would replace the device.
FULL = Path("/dev/full")


@pytest.mark.parametrize("translated", [False, True])
def test_a_task_that_fills_the_disk_says_so_and_is_tried_again(tmp_path: Path, translated: bool) -> None:
    with pytest.raises(DiskFullError if translated else OSError) as caught:
        fill(tmp_path, translated)
    failed: State[Any] = Failed(data=caught.value)
    assert is_transient(Task(fill), None, failed)  # type: ignore[arg-type]
    if translated:
        assert f"the disk of {tmp_path} is full" in str(caught.value)
    assert not is_transient(Task(fill), None, Failed(data=FileNotFoundError("x")))  # type: ignore[arg-type]


def fill(folder: Path, translated: bool) -> None:
    with disk_errors(folder) if translated else nullcontext(), FULL.open("wb", buffering=0) as file:
        file.write(b"x")


class FullDisk:
    """A storage client that downloads to a disk without space."""

    async_impl = False

    def get_file(self, source: str, target: str) -> None:
        del source, target
        with FULL.open("wb", buffering=0) as file:
            file.write(b"x")


def test_images_that_do_not_fit_are_no_outage_of_the_remote(tmp_path: Path) -> None:
    odb = SimpleNamespace(fs=SimpleNamespace(fs=FullDisk()), oid_to_path=str)
    with pytest.raises(DiskFullError, match=f"the disk of {tmp_path / 'a.jpg'} is full"):
        Remote("storage", (odb,)).download("0" * 32, tmp_path / "a.jpg")


def test_a_fetch_that_does_not_fit_keeps_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\necho 'fatal: write error: No space left on device' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("GIT_SSH", str(program))
    (tmp_path / "mirror.git").mkdir()
    with pytest.raises(DiskFullError, match=r"the disk of .*mirror\.git is full"):
        git.mirror("ssh://example.org/x.git", tmp_path / "mirror.git")
    assert {path.name for path in tmp_path.iterdir()} == {"ssh", "mirror.git", "mirror.git.lock"}


def test_a_trainer_that_fills_the_disk_is_tried_again() -> None:
    told = failure("cat", 1, ["OSError: [Errno 28] No space left on device"])
    assert isinstance(told, DiskFullError)
