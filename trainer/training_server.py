"""Train one concept after the other in one process, which keeps TensorFlow, the base model and all that was traced:

    python -m trainer.training_server --folder DIR --slot N --key KEY --idle SECONDS --connection DESCRIPTOR

`tasks.training.served_trainer` starts it and talks to it; `trainer.server_folder` says in which words. The first
training comes over --connection, a socket that it inherits, the following ones over the socket of its slot. Each runs
as `python -m trainer` would, with its arguments, its standard output and error, its exit code, and its numbers.

It ends when no training came for --idle seconds, when the processes that serve runs are gone, by SIGTERM when the
current training has written its checkpoint, when its memory has grown too much, and when it is asked for a training
that needs another process: other code, another environment (both are in KEY), or another base model.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer import training_config as configuration
from trainer.__main__ import leave, main, read_options
from trainer.server_folder import ACCEPTED, Request, ServerFolder, receive

if TYPE_CHECKING:
    from trainer.loaded_base import LoadedBase

LOOK = 0.25
"""Seconds between two looks whether the server is still wanted."""
GROWTH = 2**28
"""Bytes by which its memory may exceed five quarters of what it was after the first training.

What TensorFlow has traced stays for good, and each new number of vectors, resolution or batch size is traced anew
(100 MB on `tiny`).
"""


class TrainingServer:
    """The server of one slot.

    Args:
        folder: Where its clients find it.
        slot: Number of the slot.
        key: Names the code and the environment that it runs with.
        idle: Seconds without a training after which it ends.
    """

    def __init__(self, folder: ServerFolder, slot: int, key: str, idle: float) -> None:
        self._folder, self._slot, self._key, self._idle = folder, slot, key, idle
        self._base: LoadedBase | None = None
        self._stop = threading.Event()
        self._ending = False
        self._most_memory = 0
        signal.signal(signal.SIGTERM, self._end)

    def run(self, first: socket.socket) -> None:
        """Serve the training that comes over a connection, and those that follow over the slot's socket."""
        connection: socket.socket | None = first
        listener: socket.socket | None = None
        while connection is not None:
            with connection:
                received = receive(connection)
                if received is not None:
                    # The client holds the slot's lock, so nobody else listens there now.
                    listener = listener or self._listen()
                    if not self._answer(connection, *received):
                        return
            connection = self._accept(listener)

    def _listen(self) -> socket.socket | None:
        try:
            listener = self._folder.listen(self._slot)
        except OSError as error:
            print(f"the next training starts another process: {error}", file=sys.stderr)
            return None
        listener.settimeout(LOOK)
        return listener

    def _accept(self, listener: socket.socket | None) -> socket.socket | None:
        """Wait for the next client; None when the server is to end."""
        until = time.monotonic() + self._idle
        while listener and time.monotonic() < until and not self._ending and self._folder.is_owned():
            with suppress(TimeoutError):
                return listener.accept()[0]
        return None

    def _answer(self, connection: socket.socket, request: Request, descriptors: list[int]) -> bool:
        """Train what is requested, unless that needs another process; return whether another training may follow."""
        output, errors, *held = descriptors
        code = None
        try:
            with output_to(output, errors):
                if self._ending or not self._fits(request):
                    return False
                with suppress(OSError):  # The client may be gone.
                    connection.send(ACCEPTED)
                    code = self._train(connection, request)
        finally:
            for descriptor in held:
                os.close(descriptor)
        with suppress(OSError):
            connection.send(str(code).encode())
        return not self._ending and not self._has_grown()

    def _fits(self, request: Request) -> bool:
        """Tell whether this process is the right one for a request."""
        if request.key != self._key:
            return False
        if self._base is None:
            return True
        from trainer.loaded_base import identity

        try:
            options = read_options(request.arguments)
            preset = configuration.load(options.config).base
            wanted = identity(preset, options.base, unverified=options.unverified, dtype=options.dtype)
        except (SystemExit, configuration.ConfigError, OSError):
            return True  # It is refused in the trainer's own words.
        return wanted == self._base.identity

    def _train(self, connection: socket.socket, request: Request) -> int:
        self._stop.clear()
        if self._ending:  # since the last look
            self._stop.set()
        watch = threading.Thread(target=self._stop_when_gone, args=(connection,), daemon=True)
        watch.start()
        try:
            return main(request.arguments, stop=self._stop, open_base=self._open)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 - whatever it was, the next training has nothing to do with it
            traceback.print_exc()
            return 1
        finally:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
            watch.join()

    def _stop_when_gone(self, connection: socket.socket) -> None:
        with suppress(OSError):
            connection.recv(1)
        self._stop.set()

    def _open(self, *place: Any, **how: Any) -> LoadedBase:
        """Load the base model, once."""
        if self._base is None:
            from trainer.loaded_base import LoadedBase

            self._base = LoadedBase(*place, **how, stays=True)
        return self._base

    def _has_grown(self) -> bool:
        if self._base is None:
            return False
        gc.collect()
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        memory = int(pages) * os.sysconf("SC_PAGE_SIZE")
        self._most_memory = self._most_memory or memory + memory // 4 + GROWTH
        return memory > self._most_memory

    def _end(self, *_: object) -> None:
        self._ending = True
        self._stop.set()


@contextmanager
def output_to(output: int, errors: int) -> Iterator[None]:
    """Lead this process's standard output and error, and those of its children, to two descriptors, and close these."""
    # A stream of its own, because what the standard one could not write would come in the next training. Loggers keep
    # the stream for errors, so that one stays.
    stream = os.fdopen(output, "w", encoding="utf-8")
    try:
        for number, descriptor in enumerate((output, errors), start=1):
            os.dup2(descriptor, number)
        with redirect_stdout(stream):
            yield
    finally:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):
            os.dup2(nowhere, number)
        os.close(nowhere)
        os.close(errors)
        # The process that reads it may be gone.
        with suppress(OSError):
            stream.close()


def serve() -> None:
    """Serve until the server is not wanted any more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where clients find the server")
    parser.add_argument("--slot", type=int, required=True, help="which of the folder's servers it is")
    parser.add_argument("--key", required=True, help="names the code and the environment")
    parser.add_argument("--idle", type=float, required=True, help="seconds without a training after which it ends")
    parser.add_argument("--connection", type=int, required=True, help="descriptor of a socket to the first client")
    options = parser.parse_args()
    server = TrainingServer(ServerFolder(options.folder), options.slot, options.key, options.idle)
    server.run(socket.socket(fileno=options.connection))


if __name__ == "__main__":
    serve()
    leave(0)
