"""Client of a training server (`trainer.training_server`): begin a training in one that waits, or start it first."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from trainer.server_folder import ACCEPTED, PATIENCE, Request, ServerFolder, peer, send

_started: list[subprocess.Popen[bytes]] = []
"""Servers that this process started: they stay when their first training is done."""


class ServedTraining:
    """A training that a server has accepted.

    Args:
        connection: To the server.
        process: Id of the server's process.
        child: The same, if this process started it.
    """

    def __init__(self, connection: socket.socket, process: int, child: subprocess.Popen[bytes] | None) -> None:
        self._connection, self._process, self._child = connection, process, child
        self._ended = False
        self._code: int | None = None

    def has_ended(self, seconds: float) -> bool:
        """Wait at most so long for its end, and return whether it has ended."""
        return bool(select.select([self._connection], [], [], seconds)[0])

    def wait(self) -> int | None:
        """Return the exit code of the training; None if its process ended, and it is unknown how."""
        self._receive()
        if self._code is None and self._child is not None:
            # 0 is not the training's: the process was asked to end before that began.
            return self._child.wait() or None
        return self._code

    def stop(self, grace: float) -> None:
        """Stop the training, and after `grace` seconds the process, unless the training has ended."""
        if self._ended:
            return
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        self._connection.settimeout(grace)
        try:
            self._receive()
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)
            self._connection.settimeout(None)

    def close(self) -> None:
        """Close the connection, which stops a training that has not ended."""
        self._connection.close()

    def _receive(self) -> None:
        if self._ended:
            return
        try:
            answer = self._connection.recv(64)
        except ConnectionError:
            answer = b""
        self._ended, self._code = True, int(answer) if answer else None


def begin_training(
    folder: ServerFolder,
    slot: int,
    idle: float,
    request: Request,
    descriptors: Sequence[int],
    environment: Mapping[str, str],
) -> ServedTraining:
    """Begin a training in the server of a slot, whose lock the caller holds if others use the folder.

    Args:
        folder: Where servers are found.
        slot: Number of the server.
        idle: Seconds without a training after which a server that is started here ends.
        request: The training.
        descriptors: For the trainer's standard output and error, then those that the server holds until its end.
        environment: Of a server that is started here.
    """
    return _ask(folder, slot, request, descriptors) or _start(folder, slot, idle, request, descriptors, environment)


def _ask(folder: ServerFolder, slot: int, request: Request, descriptors: Sequence[int]) -> ServedTraining | None:
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
            return ServedTraining(connection, process, None)
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    except OSError:
        pass
    connection.close()
    return None


def _start(
    folder: ServerFolder,
    slot: int,
    idle: float,
    request: Request,
    descriptors: Sequence[int],
    environment: Mapping[str, str],
) -> ServedTraining:
    """Start the server of a slot. It is in a session of its own and has no leash, because it may outlive this run."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    options = {
        "--folder": folder.path,
        "--slot": slot,
        "--key": request.key,
        "--idle": idle,
        "--connection": theirs.fileno(),
    }
    arguments = (str(text) for option in options.items() for text in option)
    with theirs:
        child = subprocess.Popen(
            # -P keeps a folder trainer/ in the working directory from shadowing the package.
            [sys.executable, "-P", "-m", "trainer.training_server", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=descriptors[1],
            start_new_session=True,
            pass_fds=(theirs.fileno(),),
            env=dict(environment),
        )
    _started[:] = [child, *(one for one in _started if one.poll() is None)]  # The others leave no zombie.
    with suppress(OSError):  # It may have ended already; `ServedTraining.wait` tells how.
        send(ours, request, descriptors)
        ours.recv(len(ACCEPTED))
    return ServedTraining(ours, child.pid, child)
