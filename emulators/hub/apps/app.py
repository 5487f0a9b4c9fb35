"""One app's life: built, started, watched, put to sleep and woken, by what is wished for it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from emulators.host import free_port
from emulators.hub.apps.build import BuildError, BuildLog, Environments, check_out
from emulators.hub.apps.control_dir import Board, Stage, Status
from emulators.hub.apps.desired_state import Wish
from emulators.hub.apps.limits import Limits
from emulators.hub.apps.reverse_proxy import Gate, Head, Pass, Refusal, Route
from emulators.hub.apps.sandbox import Boxed, last_lines
from emulators.hub.lfs import LfsStore

_PATIENCE = 60.0


@dataclass(frozen=True)
class Shop:
    """What all apps of a keeper share.

    `room` waits until one more may run and `leave` gives that place back; `admit` is the hub's opinion of a visitor;
    `woken` is told when one of them has woken an app.
    """

    board: Board
    lfs: LfsStore
    environments: Environments
    limits: Limits
    environment: Mapping[str, str]
    host: str
    building: asyncio.Semaphore
    room: Callable[[App], Awaitable[None]]
    leave: Callable[[App], None]
    admit: Callable[[Wish, Head], Pass | Refusal]
    woken: Callable[[Wish], None]


class App:
    """The keeper's view of one app. `used` is when somebody last asked something of it (monotonic seconds)."""

    def __init__(self, shop: Shop, wish: Wish) -> None:
        self.shop, self.wish = shop, wish
        self.status = shop.board.status(wish.uid) or Status()
        self.gate = Gate(self._way)
        self.used = time.monotonic()
        self._folder = shop.board.app_folder(wish.uid)
        self._act: asyncio.Task[None] | None = None
        self._boxed: Boxed | None = None
        self._port = 0
        self._turn = asyncio.Lock()
        self._news = asyncio.Condition()

    @property
    def running(self) -> bool:
        """Whether it answers now."""
        return self.status.stage in (Stage.RUNNING, Stage.RUNNING_BUILDING)

    async def open(self) -> None:
        """Take the app's address: the one it had before, if it can be had."""
        self._folder.mkdir(parents=True, exist_ok=True)
        known = (self.status.address or "").rpartition(":")[2]
        await self.gate.listen(self.shop.host, int(known) if known.isdecimal() else 0)

    async def become(self, wish: Wish) -> None:
        """Make the app what is wished. What takes time goes on in the background."""
        async with self._turn:
            await self._interrupt()
            self.wish = wish
            self._act = asyncio.create_task(self._live(wish))

    async def sleep(self) -> None:
        """End the process, and wait for the next visitor."""
        async with self._turn:
            await self._interrupt()
            await self._end()
            await self._say(Stage.SLEEPING)

    async def stay(self, status: Status) -> None:
        """Be as an earlier keeper left it."""
        await self._say(status.stage, status.message)

    async def close(self) -> None:
        """End everything."""
        async with self._turn:
            await self._interrupt()
            await self._end()
            await self.gate.close()

    async def _interrupt(self) -> None:
        if self._act is not None:
            self._act.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._act
            self._act = None

    async def _end(self) -> None:
        if self._boxed is not None:
            await self._boxed.end()
            self._boxed = None
        self.shop.leave(self)

    async def _live(self, wish: Wish) -> None:
        rest = _rest(wish)
        if rest is not None:
            await self._end()
            await self._say(*rest)
            return
        try:
            python, folder = await self._build(wish)
            await self._end()
            await self._run(wish, python, folder)
        except (BuildError, OSError) as error:
            await self._end()
            await self._say(Stage.BUILD_ERROR, str(error))

    async def _build(self, wish: Wish) -> tuple[Path, Path]:
        await self._say(Stage.RUNNING_BUILDING if self._boxed is not None else Stage.BUILDING)
        folder = self._folder / f"at-{wish.version[:12]}"
        log = BuildLog(self.shop.board.log(wish.uid, "build"))

        def build() -> Path:
            count = check_out(wish.repo, wish.commit, self.shop.lfs, folder, wish.skipped)
            log(f"Checked out {count} files of {wish.repo.id} at {wish.commit[:8]}.")
            return self.shop.environments.python_for(folder, wish.requirements, log, fresh=wish.fresh)

        async with self.shop.building:
            try:
                return await asyncio.to_thread(build), folder
            except (BuildError, OSError) as error:
                log(f"Build failed: {error}")
                raise

    async def _run(self, wish: Wish, python: Path, folder: Path) -> None:
        await self.shop.room(self)
        await self._say(Stage.APP_STARTING)
        home, log = self._folder / "home", self.shop.board.log(wish.uid, "run")
        home.mkdir(exist_ok=True)
        self._port = free_port()
        self._boxed = await Boxed.start(
            wish.command(python, folder, self._port),
            folder=folder,
            environment={**self.shop.environment, **wish.variables(folder, home, self._port, self._address)},
            log=log,
            limits=self.shop.limits,
        )
        await asyncio.to_thread(self._clear, folder)
        if await self._boxed.answers(self._port):
            self.used = time.monotonic()
            await self._say(Stage.RUNNING)
            why = await asyncio.shield(self._boxed.ended)
        elif self._boxed.ended.done():
            why = self._boxed.ended.result()
        else:
            why = f"It did not answer within {self.shop.limits.start_seconds:.0f} s.\n{last_lines(log)}"
        await self._end()
        await self._say(Stage.RUNTIME_ERROR, why)

    def _clear(self, folder: Path) -> None:
        for old in self._folder.glob("at-*"):
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)

    @property
    def _address(self) -> str:
        host = self.shop.host if ":" not in self.shop.host else f"[{self.shop.host}]"
        return f"http://{host}:{self.gate.port}"

    async def _say(self, stage: str, message: str | None = None) -> None:
        self.status = Status(
            stage=stage,
            version=self.wish.version,
            commit=self.wish.commit,
            address=self._address,
            message=message,
        )
        self.shop.board.write_status(self.wish.uid, self.status)
        async with self._news:
            self._news.notify_all()

    async def _way(self, head: Head) -> Route | Refusal:
        """Where a visitor of the gate goes."""
        admitted = self.shop.admit(self.wish, head)
        if isinstance(admitted, Refusal):
            return admitted
        self.used = time.monotonic()
        if self.status.stage == Stage.SLEEPING:
            await self._wake()
        if not self.running:
            await self._until_settled(self._patience(head))
        return Route(self._port, admitted.authorization) if self.running else self._closed()

    async def _wake(self) -> None:
        await asyncio.to_thread(self.shop.woken, self.wish)
        if self.status.stage == Stage.SLEEPING:  # of several visitors the first one wakes it
            await self._say(Stage.BUILDING)
            await self.become(replace(self.wish, asleep=False))

    def _patience(self, head: Head) -> float:
        """Seconds that a request is held while the app starts."""
        if self.wish.kind == "endpoint":
            # Endpoints answer 503 at once, unless they are asked to hold the request.
            asked = head.get("x-scale-up-timeout") or ""
            return min(float(asked), 3600.0) if asked.isdecimal() else 0.0
        return 0.0 if head.wants_page else _PATIENCE

    async def _until_settled(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: self.status.stage not in _ON_THE_WAY)

    def _closed(self) -> Refusal:
        stage, endpoint = self.status.stage, self.wish.kind == "endpoint"
        if stage in _ON_THE_WAY:
            return Refusal(503, "Service Unavailable: it is starting" if endpoint else "Starting…", wait=True)
        if stage == Stage.PAUSED and endpoint:
            return Refusal(400, "Bad Request: The endpoint is paused, ask a maintainer to restart it")
        return Refusal(503, f"It does not run: {stage.replace('_', ' ').lower()}")


_ON_THE_WAY = (Stage.BUILDING, Stage.APP_STARTING, Stage.SLEEPING)


def _rest(wish: Wish) -> tuple[str, str | None] | None:
    """Stage and message of an app that is not to run now."""
    if wish.paused:
        return Stage.PAUSED, None
    if wish.wrong:
        return wish.wrong
    return (Stage.SLEEPING, None) if wish.asleep else None
