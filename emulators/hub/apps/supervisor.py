"""Supervisor, one per Hub root: reconciles running apps with their desired state.

The server that holds the root's lock supervises. It reconciles an app on request (see control_dir), and all apps every
minute, so that a lost request costs a delay and nothing else. The apps end with the supervisor's process; the next
supervisor starts them again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Awaitable
from dataclasses import replace

from emulators.hub.apps.app_build import Environments
from emulators.hub.apps.control_dir import ReconcileRequest, Stage
from emulators.hub.apps.desired_state import DesiredApp, common_environment, desired_endpoint, desired_space
from emulators.hub.apps.hosted_app import App, AppContext
from emulators.hub.apps.limits import Limits
from emulators.hub.apps.reverse_proxy import Authorized, Rejection, RequestHead
from emulators.hub.context import Hub
from emulators.hub.http_errors import HubError
from emulators.hub.names import Kind, RepoId

_POLL_SECONDS = 0.2
_RECONCILE_ALL_SECONDS = 60.0
_ELECTION_SECONDS = 1.0
# A new supervisor leaves apps in these stages as they are, and starts all others.
_FINAL = (Stage.RUNTIME_ERROR, Stage.BUILD_ERROR, Stage.SLEEPING)
log = logging.getLogger("hub.apps")


class Supervisor:
    """Runs the apps of a Hub from a thread of its own.

    Args:
        hub: the Hub that the apps belong to.
        base: the Hub's URL, for the apps.
        host: address that the apps' reverse proxies listen on.
        limits: of the apps' resources.
    """

    def __init__(self, hub: Hub, base: str, host: str, limits: Limits) -> None:
        self._hub, self._base, self._host, self._limits = hub, base, host, limits
        self._apps: dict[str, App] = {}
        self._slots: list[App] = []
        self._stopping: asyncio.Event
        self._loop: asyncio.AbstractEventLoop | None = None
        self._environments = Environments(hub.control.folder / "environments")
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="supervisor", daemon=True)
        self._started = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """End all apps, then the thread."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._environments.interrupt()
        self._thread.join()

    async def _main(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        while not self._stopping.is_set():
            with self._hub.control.try_supervise() as mine:
                if mine:
                    await self._supervise()
            await self._wait(_ELECTION_SECONDS)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _supervise(self) -> None:
        context = AppContext(
            control=self._hub.control,
            lfs=self._hub.lfs,
            environments=self._environments,
            limits=self._limits,
            environment=common_environment(self._base, self._hub.config.apps),
            host=self._host,
            building=asyncio.Semaphore(2),
            acquire_slot=self._acquire_slot,
            release_slot=self._release_slot,
            authorize=self._authorize,
            on_wake=self._on_wake,
        )
        try:
            await self._reconcile_all(context, first=True)
            reconciled = time.monotonic()
            while not self._stopping.is_set():
                for request in self._hub.control.take_requests():
                    await self._isolated(request.uid, self._reconcile(context, request))
                for app in list(self._apps.values()):
                    await self._isolated(app.desired.uid, self._sleep_when_idle(app))
                if time.monotonic() - reconciled > _RECONCILE_ALL_SECONDS:
                    await self._reconcile_all(context)
                    reconciled = time.monotonic()
                await self._wait(_POLL_SECONDS)
        finally:
            await asyncio.gather(*(app.close() for app in self._apps.values()), return_exceptions=True)
            self._apps.clear()
            self._slots.clear()

    @staticmethod
    async def _isolated(uid: str, work: Awaitable[None]) -> None:
        """Log every exception, so that one app cannot stop the others."""
        try:
            await work
        except Exception:
            log.exception("app %s", uid)

    async def _reconcile(self, context: AppContext, request: ReconcileRequest) -> None:
        desired = await asyncio.to_thread(self._desired, request.key)
        if desired is None or desired.uid != request.uid:
            await self._remove(request.uid)
        else:
            await self._apply(context, desired)

    async def _reconcile_all(self, context: AppContext, *, first: bool = False) -> None:
        desired_apps = await asyncio.to_thread(lambda: [d for key in self._keys() if (d := self._desired(key))])
        # After a restart the apps that were used last start first; the others sleep until a request.
        ages = {
            desired.uid: status.since for desired in desired_apps if (status := self._hub.control.status(desired.uid))
        }
        known = sorted((d for d in desired_apps if d.uid in ages), key=lambda d: ages[d.uid], reverse=True)
        for number, desired in enumerate([*known, *(d for d in desired_apps if d.uid not in ages)]):
            crowded = first and desired.may_sleep and self._limits.apps <= number < len(known)
            await self._isolated(desired.uid, self._apply(context, desired, crowded=crowded))
        for uid in {*self._apps, *self._hub.control.known()} - {desired.uid for desired in desired_apps}:
            await self._isolated(uid, self._remove(uid))

    def _keys(self) -> list[str]:
        spaces = [repo.id.key for repo in self._hub.repos.all(Kind.SPACE)]
        return spaces + [endpoint.key for endpoint in self._hub.endpoints.all()]

    def _desired(self, key: str) -> DesiredApp | None:
        """Compute the desired state of a Space or an endpoint; none when it does not exist any more."""
        kind, owner, name = key.split("/")
        if kind == "endpoints":
            endpoint = self._hub.endpoints.get(owner, name)
            if endpoint is None:
                return None
            return desired_endpoint(endpoint, self._hub.repos.named(endpoint.body.model.repository))
        repo = self._hub.repos.get(RepoId(Kind.SPACE, owner, name))
        return None if repo is None else desired_space(repo, self._hub.summaries.of(repo))

    async def _apply(self, context: AppContext, desired: DesiredApp, *, crowded: bool = False) -> None:
        app = self._apps.get(desired.uid)
        if app is None:
            app = self._apps[desired.uid] = App(context, desired)
            await app.open()
            before = app.status
            if before.version == desired.version and before.stage in _FINAL and not desired.paused:
                await app.restore(before)
            elif crowded and desired.error is None and not desired.paused:
                await app.sleep()
            else:
                await app.apply(desired)
        elif desired.needs_change(app.desired):
            await app.apply(desired)
        else:
            app.desired = replace(desired, asleep=app.desired.asleep)

    async def _remove(self, uid: str) -> None:
        app = self._apps.pop(uid, None)
        if app is not None:
            await app.close()
        await asyncio.to_thread(shutil.rmtree, self._hub.control.app_folder(uid), ignore_errors=True)

    async def _sleep_when_idle(self, app: App) -> None:
        if app.proxy.active:
            app.last_used = time.monotonic()
        limit = app.desired.sleep_after
        if app.running and limit is not None and time.monotonic() - app.last_used > limit:
            await app.sleep()

    def _on_wake(self, desired: DesiredApp) -> None:
        """Record that an endpoint that was scaled to zero must run again, because of a request."""
        if desired.kind == "endpoint":
            _, namespace, name = desired.key.split("/")
            with contextlib.suppress(HubError):
                self._hub.endpoints.update(namespace, name, lambda e: e.model_copy(update={"wanted": "running"}))

    async def _acquire_slot(self, app: App) -> None:
        """Wait until one more app may run, putting the least recently used one to sleep."""
        while app not in self._slots and len(self._slots) >= self._limits.apps:
            victims = [other for other in self._slots if other.running and other.desired.may_sleep]
            if victims:
                victim = min(victims, key=lambda v: (v.desired.kind == "endpoint", v.proxy.active > 0, v.last_used))
                await asyncio.shield(asyncio.create_task(victim.sleep()))
            else:
                await asyncio.sleep(_POLL_SECONDS)
        if app not in self._slots:
            self._slots.append(app)

    def _release_slot(self, app: App) -> None:
        if app in self._slots:
            self._slots.remove(app)

    def _authorize(self, desired: DesiredApp, head: RequestHead) -> Authorized | Rejection:
        """Decide whether a request may reach an app. Tokens of this Hub are not passed on to the app."""
        header = head.get("authorization")
        try:
            account = self._hub.accounts.authenticate(header).account
        except HubError:
            account = None
        if desired.visibility == "public":
            return Authorized(authorization=header is not None and account is None)
        if account is None:
            return Rejection(401, "This needs a token of the Hub", challenge=True)
        if desired.visibility == "private" and not account.is_member(desired.owner):
            return Rejection(403, f"This is for {desired.owner} only")
        return Authorized(authorization=False)
