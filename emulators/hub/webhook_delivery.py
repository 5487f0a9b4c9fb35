"""Delivery of webhooks, by the server of a root that holds the outbox's lock.

Each message is tried up to six times within about ten minutes, until its receiver answers with 2xx. So a receiver may
get a message twice; a message that fails six times is dropped with a line in the Hub's log.
"""

from __future__ import annotations

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

_POLL_SECONDS = 0.2
_AFTER_ERROR_SECONDS = 5.0
_TIMEOUT_SECONDS = 10.0
RETRY_SECONDS: tuple[float, ...] = (1, 4, 16, 64, 256)
log = logging.getLogger("hub.webhooks")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Refuse redirects: a webhook's secret is sent to the webhook's own URL only."""
        return


class WebhookDelivery:
    """Delivers the messages of an outbox from a thread of its own."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._main, name="webhook-delivery", daemon=True)
        # One message of a webhook at a time, so that they arrive in order while the receiver accepts them.
        self._in_flight: set[str] = set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; undelivered messages stay in the outbox."""
        self._stopping.set()
        self._thread.join()

    def _main(self) -> None:
        while not self._stopping.wait(_POLL_SECONDS):
            try:
                with atomic_files.try_locked(self._webhooks.outbox / ".lock") as elected:
                    if elected:
                        self._deliver_all()
            except OSError as error:
                # A full or unreadable disk; delivery goes on when it is over.
                log.warning("webhooks cannot be delivered: %s", error)
                self._stopping.wait(_AFTER_ERROR_SECONDS)

    def _deliver_all(self) -> None:
        with ThreadPoolExecutor(4, "webhook") as senders:
            while not self._stopping.wait(_POLL_SECONDS):
                for path, message in self._webhooks.pending():
                    if message.webhook not in self._in_flight and message.due <= time.time():
                        self._in_flight.add(message.webhook)
                        senders.submit(self._deliver, path, message)

    def _deliver(self, path: Path, message: Message) -> None:
        try:
            if self._stopping.is_set():
                return
            problem = self._send(message)
            if problem is None:
                path.unlink(missing_ok=True)
            elif message.attempts >= len(RETRY_SECONDS):
                log.warning("webhook %s: dropped after %d attempts: %s", message.webhook, message.attempts + 1, problem)
                path.unlink(missing_ok=True)
            else:
                due = time.time() + RETRY_SECONDS[message.attempts]
                retried = message.model_copy(update={"attempts": message.attempts + 1, "due": due})
                atomic_files.write_file(path, retried.model_dump_json().encode())
        except Exception:
            log.exception("webhook %s", message.webhook)
        finally:
            self._in_flight.discard(message.webhook)

    def _send(self, message: Message) -> str | None:
        """Send a message once; return the problem, or none when it was accepted or its webhook is gone."""
        hook = self._webhooks.get(message.owner, message.webhook)
        if hook is None or hook.disabled:
            return None
        headers = {"Content-Type": "application/json", "User-Agent": "hub-emulator-webhook"}
        if hook.secret is not None:
            headers["X-Webhook-Secret"] = hook.secret
        body = json.dumps(message.payload).encode()
        try:
            request = urllib.request.Request(hook.url, body, headers, method="POST")
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=_TIMEOUT_SECONDS) as answer:
                return None if 200 <= answer.status < 300 else f"status {answer.status}"
        except urllib.error.HTTPError as error:
            error.close()
            return f"status {error.code}"
        except (OSError, ValueError) as error:
            return str(error)
