"""The keeper: one for each root, whichever server holds its lock. It makes what runs be what should run.

It looks at an app when somebody asks (the board), and at all of them every minute, so that a lost request delays and
loses nothing. When its process ends, however, the boxes end with it; the next keeper starts them again.
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

from emulators.hub.apps.app import App, Shop
from emulators.hub.apps.build import Environments
from emulators.hub.apps.control_dir import Asked, Stage
from emulators.hub.apps.desired_state import Wish, common_environment, endpoint_wish, space_wish
from emulators.hub.apps.limits import Limits
from emulators.hub.apps.reverse_proxy import Head, Pass, Refusal
from emulators.hub.context import Hub
from emulators.hub.errors import HubError
from emulators.hub.names import Kind, RepoId

_LOOK_EVERY = 0.2
_LOOK_AT_ALL_EVERY = 60.0
_TRY_EVERY = 1.0
# Where these were before, they stay; everything else is tried again by a new keeper.
_FINAL = (Stage.RUNTIME_ERROR, Stage.BUILD_ERROR, Stage.SLEEPING)
log = logging.getLogger("hub.apps")


class Keeper:
    """Runs the apps of a hub from a thread of its own.

    Args:
        hub: whose apps.
        base: the hub's address, for the apps.
        host: the address that apps are reached at.
        limits: what they may use.
    """

    def __init__(self, hub: Hub, base: str, host: str, limits: Limits) -> None:
        self._hub, self._base, self._host, self._limits = hub, base, host, limits
        self._apps: dict[str, App] = {}
        self._holders: list[App] = []
        self._stopping: asyncio.Event
        self._loop: asyncio.AbstractEventLoop | None = None
        self._environments = Environments(hub.board.folder / "environments")
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="keeper", daemon=True)
        self._started = threading.Event()

    def start(self) -> None:
        """Begin."""
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
            with self._hub.board.keeping() as mine:
                if mine:
                    await self._keep()
            await self._pause(_TRY_EVERY)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _keep(self) -> None:
        shop = Shop(
            board=self._hub.board,
            lfs=self._hub.lfs,
            environments=self._environments,
            limits=self._limits,
            environment=common_environment(self._base, self._hub.config.apps),
            host=self._host,
            building=asyncio.Semaphore(2),
            room=self._room,
            leave=self._leave,
            admit=self._admit,
            woken=self._woken,
        )
        try:
            await self._look_at_all(shop, first=True)
            looked = time.monotonic()
            while not self._stopping.is_set():
                for asked in self._hub.board.take_asked():
                    await self._guarded(asked.uid, self._look(shop, asked))
                for app in list(self._apps.values()):
                    await self._guarded(app.wish.uid, self._sleep_when_idle(app))
                if time.monotonic() - looked > _LOOK_AT_ALL_EVERY:
                    await self._look_at_all(shop)
                    looked = time.monotonic()
                await self._pause(_LOOK_EVERY)
        finally:
            await asyncio.gather(*(app.close() for app in self._apps.values()), return_exceptions=True)
            self._apps.clear()
            self._holders.clear()

    @staticmethod
    async def _guarded(uid: str, work: Awaitable[None]) -> None:
        """One app that cannot be handled must not stop the others."""
        try:
            await work
        except Exception:
            log.exception("app %s", uid)

    async def _look(self, shop: Shop, asked: Asked) -> None:
        wish = await asyncio.to_thread(self._wish, asked.place)
        if wish is None or wish.uid != asked.uid:
            await self._forget(asked.uid)
        else:
            await self._apply(shop, wish)

    async def _look_at_all(self, shop: Shop, *, first: bool = False) -> None:
        wishes = await asyncio.to_thread(lambda: [w for place in self._places() if (w := self._wish(place))])
        # After a restart the ones that were used last run first; the others wait for a visitor.
        ages = {wish.uid: status.since for wish in wishes if (status := self._hub.board.status(wish.uid))}
        known = sorted((w for w in wishes if w.uid in ages), key=lambda w: ages[w.uid], reverse=True)
        for number, wish in enumerate([*known, *(w for w in wishes if w.uid not in ages)]):
            crowded = first and wish.sleepy and self._limits.apps <= number < len(known)
            await self._guarded(wish.uid, self._apply(shop, wish, crowded=crowded))
        for uid in {*self._apps, *self._hub.board.known()} - {wish.uid for wish in wishes}:
            await self._guarded(uid, self._forget(uid))

    def _places(self) -> list[str]:
        spaces = [repo.id.key for repo in self._hub.repos.all(Kind.SPACE)]
        return spaces + [endpoint.place for endpoint in self._hub.endpoints.all()]

    def _wish(self, place: str) -> Wish | None:
        """What is wished at a place now; none when there is nothing any more."""
        what, owner, name = place.split("/")
        if what == "endpoints":
            endpoint = self._hub.endpoints.get(owner, name)
            if endpoint is None:
                return None
            return endpoint_wish(endpoint, self._hub.repos.named(endpoint.body.model.repository))
        repo = self._hub.repos.get(RepoId(Kind.SPACE, owner, name))
        return None if repo is None else space_wish(repo, self._hub.summaries.of(repo))

    async def _apply(self, shop: Shop, wish: Wish, *, crowded: bool = False) -> None:
        app = self._apps.get(wish.uid)
        if app is None:
            app = self._apps[wish.uid] = App(shop, wish)
            await app.open()
            before = app.status
            if before.version == wish.version and before.stage in _FINAL and not wish.paused:
                await app.stay(before)
            elif crowded and wish.wrong is None and not wish.paused:
                await app.sleep()
            else:
                await app.become(wish)
        elif wish.needs_change(app.wish):
            await app.become(wish)
        else:
            app.wish = replace(wish, asleep=app.wish.asleep)

    async def _forget(self, uid: str) -> None:
        app = self._apps.pop(uid, None)
        if app is not None:
            await app.close()
        await asyncio.to_thread(shutil.rmtree, self._hub.board.app_folder(uid), ignore_errors=True)

    async def _sleep_when_idle(self, app: App) -> None:
        if app.gate.open:
            app.used = time.monotonic()
        limit = app.wish.sleep_after
        if app.running and limit is not None and time.monotonic() - app.used > limit:
            await app.sleep()

    def _woken(self, wish: Wish) -> None:
        """A visitor came to an endpoint that was scaled to zero by hand: from now on it is to run."""
        if wish.kind == "endpoint":
            _, namespace, name = wish.place.split("/")
            with contextlib.suppress(HubError):
                self._hub.endpoints.update(namespace, name, lambda e: e.model_copy(update={"wanted": "running"}))

    async def _room(self, app: App) -> None:
        """Wait until one more app may run; the one that was used longest ago goes to sleep for it."""
        while app not in self._holders and len(self._holders) >= self._limits.apps:
            victims = [holder for holder in self._holders if holder.running and holder.wish.sleepy]
            if victims:
                victim = min(victims, key=lambda v: (v.wish.kind == "endpoint", v.gate.open > 0, v.used))
                await asyncio.shield(asyncio.create_task(victim.sleep()))
            else:
                await asyncio.sleep(_LOOK_EVERY)
        if app not in self._holders:
            self._holders.append(app)

    def _leave(self, app: App) -> None:
        if app in self._holders:
            self._holders.remove(app)

    def _admit(self, wish: Wish, head: Head) -> Pass | Refusal:
        """The hub's opinion of a visitor. A token of this hub is never shown to the app."""
        header = head.get("authorization")
        try:
            account = self._hub.accounts.authenticate(header).account
        except HubError:
            account = None
        if wish.access == "everybody":
            return Pass(authorization=header is not None and account is None)
        if account is None:
            return Refusal(401, "This needs a token of the hub", challenge=True)
        if wish.access == "owners" and not account.namespace(wish.owner):
            return Refusal(403, f"This is for {wish.owner} only")
        return Pass(authorization=False)
