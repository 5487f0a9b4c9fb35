"""Folder in which training servers (`trainer.training_server`) and their clients meet, and what they say.

    owner.lock       flock, shared by the processes that serve runs; a training server ends when nobody holds it
    SLOT.lock        flock, held by a client from before it asks until its training has ended
    SLOT.sock        socket of the training server of that slot, if there is one

A connection is one training. The client sends a request, and with it the file descriptors for the trainer's standard
output and error, and those that the server holds until the training has ended. The server answers ACCEPTED, or ends,
if it cannot serve this request; and when the training has ended, its exit code in decimal. A client that shuts its side
down, or is gone, stops the training.

Linux only. The folder belongs to one user, host and start of the host, so no other user and no other machine connects.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

ACCEPTED = b"accepted"
PATIENCE = 30.0
"""Seconds in which a client sends its request, and a server that waits for work accepts it."""
_OWNER = "owner.lock"
_LONGEST, _MOST_DESCRIPTORS = 2**16, 16


@dataclass(frozen=True)
class Request:
    """One training: the arguments of `python -m trainer`, and which code and environment it is to run with."""

    key: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class ServerFolder:
    """The folder at `path`, which belongs to this user alone."""

    path: Path

    def create(self) -> None:
        """Create the folder.

        Raises:
            OSError: It cannot be created. PermissionError: It is another user's, or others may use it.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.path.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PermissionError(f"{self.path} is not for this user alone")

    def lock(self, slot: int) -> Path:
        """Return the lock file of a slot."""
        return self.path / f"{slot}.lock"

    @contextmanager
    def own(self) -> Iterator[None]:
        """Let training servers run while the block does."""
        with (self.path / _OWNER).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def is_owned(self) -> bool:
        """Whether a process lets training servers run."""
        try:
            with (self.path / _OWNER).open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            pass
        return False

    def listen(self, slot: int) -> socket.socket:
        """Listen for the clients of a slot, instead of a server that was there before; the caller holds its lock.

        Raises:
            OSError: The file system has no sockets.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with self._address(slot) as address:
                with suppress(FileNotFoundError):
                    Path(address).unlink()
                listener.bind(address)
            listener.listen()
        except OSError:
            listener.close()
            raise
        return listener

    def connect(self, slot: int) -> socket.socket | None:
        """Connect to the server of a slot; None if there is none."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with self._address(slot) as address:
                connection.connect(address)
        except OSError:
            connection.close()
            return None
        return connection

    @contextmanager
    def _address(self, slot: int) -> Iterator[str]:
        # The address of a socket has at most 107 bytes, and the folder may lie deep.
        folder = os.open(self.path, os.O_PATH | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{folder}/{slot}.sock"
        finally:
            os.close(folder)


def send(connection: socket.socket, request: Request, descriptors: Sequence[int]) -> None:
    """Send a request, with the descriptors for standard output and error first. Raises OSError."""
    socket.send_fds(connection, [json.dumps(asdict(request)).encode()], list(descriptors))


def receive(connection: socket.socket) -> tuple[Request, list[int]] | None:
    """Receive a request with its descriptors; None if the client is of another user, gone, or says nothing."""
    connection.settimeout(PATIENCE)
    try:
        message, descriptors, _, _ = socket.recv_fds(connection, _LONGEST, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    except OSError:
        return None
    connection.settimeout(None)
    if message and peer(connection)[1] == os.getuid():
        document = json.loads(message)
        return Request(document["key"], tuple(document["arguments"])), list(descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    return None


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return the process and the user at the other end of a connection; of a pair of sockets, of who made it."""
    size = struct.calcsize("3i")
    process, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return process, user
