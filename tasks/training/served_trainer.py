"""A training in a process that stays for the next one: the client of `trainer.training_server`.

A slot of the folder is one server. A training takes the first slot whose lock is free, and starts a server where the
slot has none that can serve it. The server holds the locks of its training, too, until that has ended, so that neither
the run nor the slot is free before.
"""

import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import IO

import trainer
from conceptry.installation import Installation
from conceptry.work_folder import WorkFolder
from tasks.locks import run_id, try_hold
from trainer.server_client import ServedTraining, begin_training
from trainer.server_folder import Request, ServerFolder

_BOOT = Path("/proc/sys/kernel/random/boot_id")
# A worker puts the folder of each run on the module path; which trainer that leads to is looked at.
_OF_A_RUN = ("PYTHONPATH", "PWD", "OLDPWD")


@dataclass(frozen=True)
class TrainingServers:
    """Where a machine's training servers are found, and how many seconds one waits for the next training."""

    folder: ServerFolder
    idle: float


def server_folder(work: WorkFolder) -> ServerFolder | None:
    """Return the folder of a machine's training servers, below a work folder that machines may share.

    None where there can be no such folder: not on Linux, or the work folder's file system has no permissions.
    """
    if sys.platform != "linux":
        return None
    try:
        boot = _BOOT.read_text(encoding="ascii").strip()[:8]
        # Processes of another container could not be watched or ended.
        space = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
        folder = ServerFolder(work.trainers / f"{socket.gethostname()}-{boot}-{space}-{os.getuid()}")
        folder.create()
    except OSError:
        return None
    return folder


@contextmanager
def own_training_servers(work: WorkFolder) -> Iterator[None]:
    """Let trainings leave a server for the next one while the block runs; without an owner they end with their run."""
    folder = server_folder(work)
    if folder is None:
        yield
        return
    with folder.own():
        yield


def training_servers(installation: Installation) -> TrainingServers | None:
    """Return the training servers of this machine; None if every training is to have a process of its own."""
    idle = installation.settings.trainer_idle_seconds
    folder = server_folder(installation.work) if idle else None
    return TrainingServers(folder, idle) if folder and folder.is_owned() else None


@dataclass(frozen=True)
class ServedTrainer:
    """A training in a server, with the `lines` that it prints."""

    training: ServedTraining
    lines: IO[bytes]

    def wait(self) -> int | None:
        """Return the exit code of the training; None if its process ended, and it is unknown how."""
        return self.training.wait()

    def stop(self, grace: float) -> None:
        """Stop the training, and after `grace` seconds the process, unless the training has ended."""
        self.training.stop(grace)


@contextmanager
def served_trainer(
    servers: TrainingServers,
    arguments: Sequence[str],
    stderr: IO[bytes],
    keep_open: Sequence[int],
    environment: Mapping[str, str],
) -> Iterator[ServedTrainer]:
    """Hold a slot, and have its server begin a training; the caller stops it within the block.

    Args:
        servers: Of this machine.
        arguments: Of `python -m trainer`.
        stderr: File for the trainer's standard error.
        keep_open: File descriptors (locks) that the server holds until the training has ended.
        environment: Of the trainer.
    """
    request = Request(server_key(environment), tuple(arguments))
    for slot in count():
        with try_hold(servers.folder.lock(slot), run_id()) as lock:
            if lock is not None:
                read, write = os.pipe()
                with os.fdopen(read, "rb") as lines:
                    with os.fdopen(write, "wb") as output:
                        descriptors = (output.fileno(), stderr.fileno(), lock, *keep_open)
                        training = begin_training(servers.folder, slot, servers.idle, request, descriptors, environment)
                    with closing(training):
                        yield ServedTrainer(training, lines)
                return


def server_key(environment: Mapping[str, str]) -> str:
    """Name what a process must have been started with to serve a training: the trainer's code, and the environment."""
    root = Path(trainer.__file__).parent
    kept = sorted((name, value) for name, value in environment.items() if name not in _OF_A_RUN)
    content = sha256(f"{sys.executable} {root} {version('tensorflow')} {kept}".encode())
    for path in sorted((*root.rglob("*.py"), *root.rglob("*.json"))):
        content.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return content.hexdigest()
