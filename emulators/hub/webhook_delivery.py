"""Delivering webhooks: one postman for each root, whichever server holds its lock.

Each message is tried up to six times within about ten minutes, until its receiver answers with 2xx. The receiver may
thus see a message twice, and one that is never answered is dropped with a line in the hub's log.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from emulators import atomic_files
from emulators.hub.webhooks import Message, Webhooks

_LOOK_EVERY = 0.2
_PATIENCE = 10.0
_ATTEMPTS = 6
log = logging.getLogger("hub.webhooks")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A webhook's secret goes where its owner has said, and nowhere else."""
        return


class Postman:
    """Delivers from a thread of its own."""

    def __init__(self, hooks: Webhooks) -> None:
        self._hooks = hooks
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._main, name="postman", daemon=True)
        # One message of a webhook at a time, so that they arrive in order as long as they are taken.
        self._on_the_way: set[str] = set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is not delivered stays in the outbox."""
        self._stopping.set()
        self._thread.join()

    def _main(self) -> None:
        with (self._hooks.outbox / ".lock").open("ab") as lock, ThreadPoolExecutor(4, "webhook") as couriers:
            mine = False
            while not self._stopping.wait(_LOOK_EVERY):
                if not mine:
                    with contextlib.suppress(BlockingIOError):
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        mine = True
                if mine:
                    for path, message in self._hooks.waiting():
                        if message.webhook not in self._on_the_way and message.due <= time.time():
                            self._on_the_way.add(message.webhook)
                            couriers.submit(self._deliver, path, message)

    def _deliver(self, path: Path, message: Message) -> None:
        try:
            if self._stopping.is_set():
                return
            problem = self._send(message)
            if problem is None:
                path.unlink(missing_ok=True)
            elif message.attempts + 1 >= _ATTEMPTS:
                log.warning("webhook %s: given up after %d attempts: %s", message.webhook, _ATTEMPTS, problem)
                path.unlink(missing_ok=True)
            else:
                # 1, 4, 16, 64, 256 seconds later.
                later = message.model_copy(
                    update={"attempts": message.attempts + 1, "due": time.time() + 4**message.attempts}
                )
                atomic_files.write_file(path, later.model_dump_json().encode())
        except Exception:
            log.exception("webhook %s", message.webhook)
        finally:
            self._on_the_way.discard(message.webhook)

    def _send(self, message: Message) -> str | None:
        """Try once; none when it was taken (or is not wanted any more), else what went wrong."""
        hook = self._hooks.get(message.owner, message.webhook)
        if hook is None or hook.disabled:
            return None
        headers = {"Content-Type": "application/json", "User-Agent": "hub-emulator-webhook"}
        if hook.secret is not None:
            headers["X-Webhook-Secret"] = hook.secret
        body = json.dumps(message.payload).encode()
        try:
            request = urllib.request.Request(hook.url, body, headers, method="POST")
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=_PATIENCE) as answer:
                return None if 200 <= answer.status < 300 else f"status {answer.status}"
        except urllib.error.HTTPError as error:
            error.close()
            return f"status {error.code}"
        except (OSError, ValueError) as error:
            return str(error)
