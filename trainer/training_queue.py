"""Train several concepts in one job, one after the other, as runs ask for them while it runs:

    python -m trainer.training_queue --trainings DIR --queue DIR --most N --idle SECONDS --limit SECONDS

`trainer.ticket_folder` describes --queue; both folders are mounts of a bucket. Each training has its own results,
progress, exit code and end: it runs in a training server (`trainer.training_server`), which keeps TensorFlow and the
base model for the next one, and is started again when it is killed. The job ends when it has trained --most concepts,
or when none was asked for in --idle seconds. After a SIGTERM the same command goes on where it was interrupted.

Exit codes: 0 nothing is left to do, however the trainings ended; 75 interrupted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from trainer.server_client import ServedTraining, begin_training
from trainer.server_folder import Request, ServerFolder
from trainer.ticket_folder import BEGUN, CANCELLED, ENDED, TICKETS, Begun, Ended, TicketFolder, Wanted, ended, wanted

LOOK = 1.0
"""Seconds between two looks at the folder."""
GRACE = 20.0
"""Seconds for a training to write its checkpoint when it is stopped."""
LAST_LINES = 12
EXIT_DONE, EXIT_UNUSABLE, EXIT_INTERRUPTED = 0, 2, 75


class TrainingQueue:
    """One job's trainings.

    Args:
        folder: Where runs ask for them.
        trainings: Folder of all trainings.
        servers: Folder for the training server.
        most: How many trainings the job may have.
        idle: Seconds to wait for a further one.
        limit: Seconds that one may take.
        options: Arguments of `python -m trainer` for all of them.
    """

    def __init__(
        self,
        folder: TicketFolder,
        trainings: Path,
        servers: ServerFolder,
        *,
        most: int,
        idle: float,
        limit: float,
        options: Mapping[str, Path],
    ) -> None:
        self._folder, self._trainings, self._servers = folder, trainings, servers
        self._most, self._idle, self._limit, self._options = most, idle, limit, options
        # After a restart on another machine, the trainings before are known by what was written.
        self._free = max((ended(folder.read(ENDED, name)).at for name in folder.names(ENDED)), default=None)
        self._ending = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self._ending.set())

    def run(self) -> int:
        """Train until nothing is left to do, and return the exit code."""
        while (name := self._next()) is not None:
            self._take(name)
        return EXIT_INTERRUPTED if self._ending.is_set() else EXIT_DONE

    def _next(self) -> str | None:
        """Wait for a ticket; None if the job is to end."""
        until = time.monotonic() + self._idle
        while not self._ending.is_set():
            if waiting := self._folder.open():
                return waiting[0]
            if self._folder.is_closed():
                return None
            if time.monotonic() > until or len(self._folder.names(TICKETS)) >= self._most:
                self._folder.close()  # and look again, because a ticket may have come just now
            else:
                self._ending.wait(LOOK)
        return None

    def _take(self, name: str) -> None:
        """Train what a ticket asks for, and write down how that ended; nothing if this process is to end."""
        result: Ended | None
        if name in self._folder.names(CANCELLED):
            result = Ended(_now(), EXIT_INTERRUPTED)
        else:
            try:
                ticket = wanted(self._folder.read(TICKETS, name))
            except (ValueError, TypeError) as error:
                result = Ended(_now(), EXIT_UNUSABLE, lines=(f"trainer: {name}: {error}",))
            else:
                if name not in self._folder.names(BEGUN):
                    self._folder.write(BEGUN, name, Begun(_now(), self._free))
                result = self._train(name, ticket)
        if result is not None:
            self._folder.write(ENDED, name, result)
            self._free = result.at

    def _train(self, name: str, ticket: Wanted) -> Ended | None:
        """Train; None if that was interrupted because this process is to end."""
        last: deque[str] = deque(maxlen=LAST_LINES)
        late = False
        print(f"{ticket.home}: begins", flush=True)
        with self._begin(ticket, last) as training:
            until = time.monotonic() + self._limit
            while not training.has_ended(LOOK):
                late = time.monotonic() > until
                if late or self._ending.is_set() or name in self._folder.names(CANCELLED):
                    training.stop(GRACE)
                    break
            code = training.wait()
        print(f"{ticket.home}: ended with exit code {code}", flush=True)
        return None if self._ending.is_set() and code != EXIT_DONE else Ended(_now(), code, late, tuple(last))

    @contextmanager
    def _begin(self, ticket: Wanted, last: deque[str]) -> Iterator[ServedTraining]:
        """Begin a training whose output is printed, with its `last` lines; when the block ends, all of it is."""
        home = self._trainings / ticket.home
        places = {name: home / name for name in ("records", "output")} | {"config": home / "config.json"}
        places |= {option: home / path for option, path in ticket.vectors.items()} | dict(self._options)
        arguments = tuple(text for option, path in places.items() for text in (f"--{option}", str(path)))
        read, write = os.pipe()
        relay = threading.Thread(target=_relay, args=(os.fdopen(read, encoding="utf-8", errors="replace"), last))
        relay.start()
        with os.fdopen(write, "wb") as output:
            descriptors = (output.fileno(), output.fileno())
            training = begin_training(
                self._servers, 0, self._idle + self._limit, Request("", arguments), descriptors, os.environ
            )
        with closing(training):
            yield training
        relay.join(GRACE)


def _relay(lines: IO[str], last: deque[str]) -> None:
    with lines:
        for line in lines:
            print(line, end="", flush=True)
            if line.strip() and not line.startswith("{"):
                last.append(line.rstrip())


def _now() -> str:
    return datetime.now(UTC).isoformat()


def main() -> int:
    """Parse the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=Path, required=True, help="folder of all trainings, CONCEPT/FINGERPRINT/")
    parser.add_argument("--queue", type=Path, required=True, help="folder by which runs ask for trainings")
    parser.add_argument("--most", type=int, required=True, help="how many trainings the job may have")
    parser.add_argument("--idle", type=float, required=True, help="seconds to wait for a further training")
    parser.add_argument("--limit", type=float, required=True, help="seconds that a training may take")
    parser.add_argument("--base", type=Path, help="as for python -m trainer")
    parser.add_argument("--compiled", type=Path, help="as for python -m trainer")
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("base", "compiled") if getattr(options, name) is not None}
    with tempfile.TemporaryDirectory() as folder:
        servers = ServerFolder(Path(folder))
        with servers.own():
            queue = TrainingQueue(
                TicketFolder(options.queue), options.trainings, servers,
                most=options.most, idle=options.idle, limit=options.limit, options=given,
            )  # fmt: skip
            return queue.run()


if __name__ == "__main__":
    sys.exit(main())
