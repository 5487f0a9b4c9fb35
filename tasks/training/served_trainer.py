"""A training in a process that stays for the next one: the client of `trainer.training_server`.

A slot of the folder is one server. A training takes the first slot whose lock is free, and starts a server where the
slot has none that can serve it. The server holds the locks of its training, too, until that has ended, so that neither
the run nor the slot is free before.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
from tasks.processes import python_module
from trainer.server_folder import ACCEPTED, PATIENCE, Request, ServerFolder, peer, send

_BOOT = Path("/proc/sys/kernel/random/boot_id")
# A worker puts the folder of each run on the module path; which trainer that leads to is looked at.
_OF_A_RUN = ("PYTHONPATH", "PWD", "OLDPWD")
_started: list[subprocess.Popen[bytes]] = []
"""Servers that this process started: they stay when their first training is done."""


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


class ServedTrainer:
    """A training that a server has accepted.

    Args:
        connection: To the server.
        lines: What the trainer prints.
        process: Id of the server's process.
        child: The same, if this process started it.
    """

    def __init__(
        self, connection: socket.socket, lines: IO[bytes], process: int, child: subprocess.Popen[bytes] | None
    ) -> None:
        self.lines = lines
        self._connection, self._process, self._child = connection, process, child
        self._ended = False

    def wait(self) -> int | None:
        """Return the exit code of the training; None if its process ended, and it is unknown how."""
        code = self._receive()
        if code is None and self._child is not None:
            # 0 is not the training's: the process was asked to end before that began.
            return self._child.wait() or None
        return code

    def stop(self, grace: float) -> None:
        """Stop the training, and after `grace` seconds the process, unless the training has ended."""
        if not self._ended:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(grace)
            try:
                self._receive()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    os.kill(self._process, signal.SIGKILL)

    def _receive(self) -> int | None:
        try:
            answer = self._connection.recv(64)
        except ConnectionError:
            answer = b""
        self._ended = True
        return int(answer) if answer else None


_Begun = tuple[socket.socket, int, subprocess.Popen[bytes] | None]
"""A connection with an accepted training, its process, and the same if this process started it."""


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
                        begun = _ask(servers.folder, slot, request, descriptors) or _start(
                            servers, slot, request, descriptors, environment
                        )
                    connection, process, child = begun
                    with connection:
                        yield ServedTrainer(connection, lines, process, child)
                return


def _ask(folder: ServerFolder, slot: int, request: Request, descriptors: Sequence[int]) -> _Begun | None:
    """Ask the server of a slot, which waits for work; return None if there is none, or it ends instead."""
    connection = folder.connect(slot)
    if connection is None:
        return None
    process = peer(connection)[0]
    connection.settimeout(PATIENCE)
    try:
        send(connection, request, descriptors)
        if connection.recv(len(ACCEPTED)) == ACCEPTED:
            connection.settimeout(None)
            return connection, process, None
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    except OSError:
        pass
    connection.close()
    return None


def _start(
    servers: TrainingServers, slot: int, request: Request, descriptors: Sequence[int], environment: Mapping[str, str]
) -> _Begun:
    """Start the server of a slot. It is in a session of its own and has no leash, because it may outlive this run."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    options = {
        "--folder": servers.folder.path,
        "--slot": slot,
        "--key": request.key,
        "--idle": servers.idle,
        "--connection": theirs.fileno(),
    }
    with theirs:
        child = subprocess.Popen(
            python_module("trainer.training_server", *(str(text) for option in options.items() for text in option)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=descriptors[1],
            start_new_session=True,
            pass_fds=(theirs.fileno(),),
            env=dict(environment),
        )
    _started.append(child)
    with suppress(OSError):  # It may have ended already; `ServedTrainer.wait` tells how.
        send(ours, request, descriptors)
        ours.recv(len(ACCEPTED))
    return ours, child.pid, child


def server_key(environment: Mapping[str, str]) -> str:
    """Name what a process must have been started with to serve a training: the trainer's code, and the environment."""
    root = Path(trainer.__file__).parent
    kept = sorted((name, value) for name, value in environment.items() if name not in _OF_A_RUN)
    content = sha256(f"{sys.executable} {root} {version('tensorflow')} {kept}".encode())
    for path in sorted((*root.rglob("*.py"), *root.rglob("*.json"))):
        content.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return content.hexdigest()
