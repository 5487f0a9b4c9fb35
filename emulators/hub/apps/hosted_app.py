"""One app's life: build, start, watch, sleep and wake, as its desired state says."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from emulators.foreign_requests import REFUSED, is_foreign
from emulators.host import free_port, is_loopback
from emulators.hub.apps.app_build import BuildError, BuildLog, Environments, check_out
from emulators.hub.apps.control_dir import ControlDir, Stage, Status
from emulators.hub.apps.desired_state import DesiredApp
from emulators.hub.apps.limits import Limits
from emulators.hub.apps.reverse_proxy import Authorized, Rejection, RequestHead, ReverseProxy, Upstream
from emulators.hub.apps.sandbox import Sandbox, last_lines
from emulators.hub.lfs import LfsStore

_HOLD_SECONDS = 60.0


@dataclass(frozen=True)
class AppContext:
    """What the supervisor gives to all of its apps.

    Attributes:
        environment: variables of every app.
        host: address that the apps' reverse proxies listen on.
        building: limits the number of builds at once.
        acquire_slot: waits until one more app may run.
        release_slot: returns an app's slot; does nothing when it has none.
        authorize: decides whether a request may reach an app.
        on_wake: called when a request has woken an app.
    """

    control: ControlDir
    lfs: LfsStore
    environments: Environments
    limits: Limits
    environment: Mapping[str, str]
    host: str
    building: asyncio.Semaphore
    acquire_slot: Callable[[App], Awaitable[None]]
    release_slot: Callable[[App], None]
    authorize: Callable[[DesiredApp, RequestHead], Authorized | Rejection]
    on_wake: Callable[[DesiredApp], None]


class App:
    """One app, from its checkout to its address. `last_used` is the time of its last request (monotonic seconds)."""

    def __init__(self, context: AppContext, desired: DesiredApp) -> None:
        self.context, self.desired = context, desired
        self.status = context.control.status(desired.uid) or Status()
        self.proxy = ReverseProxy(self._route)
        self.last_used = time.monotonic()
        self._folder = context.control.app_folder(desired.uid)
        self._task: asyncio.Task[None] | None = None
        self._sandbox: Sandbox | None = None
        self._port = 0
        self._lock = asyncio.Lock()
        self._closed = False
        # A cancelled build goes on in its thread: the next one must not write to the same folder.
        self._checkouts = threading.Lock()
        self._changed = asyncio.Condition()

    @property
    def running(self) -> bool:
        """Whether the app serves requests now."""
        return self.status.stage in (Stage.RUNNING, Stage.RUNNING_BUILDING)

    async def open(self) -> None:
        """Listen on the app's address: the port that it had before, if that is free."""
        self._folder.mkdir(parents=True, exist_ok=True)
        known = (self.status.address or "").rpartition(":")[2]
        await self.proxy.listen(self.context.host, int(known) if known.isdecimal() else 0)

    async def apply(self, desired: DesiredApp) -> None:
        """Bring the app into a desired state; builds and starts continue in the background."""
        async with self._lock:
            if self._closed:
                return
            await self._cancel_task()
            self.desired = desired
            self._task = asyncio.create_task(self._converge(desired))

    async def sleep(self) -> None:
        """End the process; the next request starts it again."""
        async with self._lock:
            await self._cancel_task()
            await self._stop_process()
            await self._set_status(Stage.SLEEPING)

    async def restore(self, status: Status) -> None:
        """Keep the stage that an earlier supervisor left the app in."""
        await self._set_status(status.stage, status.message)

    async def close(self) -> None:
        """End the process and stop listening. A closed app stays as it is and writes nothing more."""
        async with self._lock:
            self._closed = True
            await self._cancel_task()
            await self._stop_process()
            await self.proxy.close()

    async def _cancel_task(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _stop_process(self) -> None:
        if self._sandbox is not None:
            await self._sandbox.end()
            self._sandbox = None
        self.context.release_slot(self)

    async def _converge(self, desired: DesiredApp) -> None:
        idle = _idle_status(desired)
        if idle is not None:
            await self._stop_process()
            await self._set_status(*idle)
            return
        try:
            python, folder = await self._build(desired)
        except (BuildError, OSError) as error:
            await self._stop_process()
            await self._set_status(Stage.BUILD_ERROR, str(error))
            return
        await self._stop_process()
        try:
            why = await self._run(desired, python, folder)
        except OSError as error:
            why = f"It cannot be started: {error}"
        await self._stop_process()
        await self._set_status(Stage.RUNTIME_ERROR, why)

    async def _build(self, desired: DesiredApp) -> tuple[Path, Path]:
        await self._set_status(Stage.RUNNING_BUILDING if self._sandbox is not None else Stage.BUILDING)
        folder = self._folder / f"at-{desired.version[:12]}"
        log = BuildLog(self.context.control.log(desired.uid, "build"))

        def build() -> Path:
            with self._checkouts:
                count = check_out(desired.repo, desired.commit, folder, lfs=self.context.lfs, excluded=desired.excluded)
            log(f"Checked out {count} files of {desired.repo.id} at {desired.commit[:8]}.")
            return self.context.environments.python_for(folder, desired.requirements, log, reinstall=desired.reinstall)

        async with self.context.building:
            try:
                return await asyncio.to_thread(build), folder
            except (BuildError, OSError) as error:
                log(f"Build failed: {error}")
                raise

    async def _run(self, desired: DesiredApp, python: Path, folder: Path) -> str:
        """Start the app, serve it until its process ends, and return why it ended."""
        await self.context.acquire_slot(self)
        await self._set_status(Stage.APP_STARTING)
        home, log = self._folder / "home", self.context.control.log(desired.uid, "run")
        home.mkdir(exist_ok=True)
        self._port = free_port()
        self._sandbox = await Sandbox.start(
            desired.command(python, folder, self._port),
            folder=folder,
            environment={**self.context.environment, **desired.variables(folder, home, self._port, self._address)},
            log=log,
            limits=self.context.limits,
        )
        await asyncio.to_thread(self._remove_checkouts, [old for old in self._folder.glob("at-*") if old != folder])
        if await self._sandbox.wait_until_listening(self._port):
            self.last_used = time.monotonic()
            await self._set_status(Stage.RUNNING)
            return await asyncio.shield(self._sandbox.ended)
        if self._sandbox.ended.done():
            return self._sandbox.ended.result()
        return f"It did not answer within {self.context.limits.start_seconds:.0f} s.\n{last_lines(log)}"

    def _remove_checkouts(self, folders: list[Path]) -> None:
        with self._checkouts:
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)

    @property
    def _address(self) -> str:
        host = self.context.host if ":" not in self.context.host else f"[{self.context.host}]"
        return f"http://{host}:{self.proxy.port}"

    async def _set_status(self, stage: Stage, message: str | None = None) -> None:
        if self._closed:  # its folder may be removed already
            return
        self.status = Status(
            stage=stage,
            version=self.desired.version,
            commit=self.desired.commit,
            address=self._address,
            message=message,
        )
        self.context.control.write_status(self.desired.uid, self.status)
        async with self._changed:
            self._changed.notify_all()

    async def _route(self, head: RequestHead) -> Upstream | Rejection:
        """Decide where the reverse proxy sends a request, waking the app where necessary."""
        if is_foreign(head.line.partition(" ")[0], head.get, loopback=is_loopback(self.context.host)):
            return Rejection(403, REFUSED)
        authorized = self.context.authorize(self.desired, head)
        if isinstance(authorized, Rejection):
            return authorized
        self.last_used = time.monotonic()
        if self.status.stage == Stage.SLEEPING:
            await self._wake()
        if not self.running:
            await self._until_settled(self._hold_seconds(head))
        return Upstream(self._port, authorized.authorization) if self.running else self._unavailable()

    async def _wake(self) -> None:
        await asyncio.to_thread(self.context.on_wake, self.desired)
        if self.status.stage == Stage.SLEEPING:  # of several requests at once the first one wakes it
            await self._set_status(Stage.BUILDING)
            await self.apply(replace(self.desired, asleep=False))

    def _hold_seconds(self, head: RequestHead) -> float:
        """Return how many seconds a request waits while the app starts."""
        if self.desired.kind == "endpoint":
            # Endpoints answer 503 at once unless the client asks them to hold the request.
            seconds = head.get("x-scale-up-timeout") or ""
            return min(float(seconds), 3600.0) if seconds.isdecimal() else 0.0
        return 0.0 if head.wants_page else _HOLD_SECONDS

    async def _until_settled(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.status.stage not in _TRANSITIONAL)

    def _unavailable(self) -> Rejection:
        stage, endpoint = self.status.stage, self.desired.kind == "endpoint"
        if stage in _TRANSITIONAL:
            return Rejection(503, "Service Unavailable: it is starting" if endpoint else "Starting…", wait=True)
        if stage == Stage.PAUSED and endpoint:
            return Rejection(400, "Bad Request: The endpoint is paused, ask a maintainer to restart it")
        return Rejection(503, f"It does not run: {stage.replace('_', ' ').lower()}")


_TRANSITIONAL = (Stage.BUILDING, Stage.APP_STARTING, Stage.SLEEPING)


def _idle_status(desired: DesiredApp) -> tuple[Stage, str | None] | None:
    """Return stage and message of an app that must not run now; none when it must run."""
    if desired.paused:
        return Stage.PAUSED, None
    if desired.error:
        return desired.error
    return (Stage.SLEEPING, None) if desired.asleep else None
