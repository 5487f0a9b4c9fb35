"""A client of the Hub to which something happens after a chosen request: its process dies, or another one writes."""

import threading
from collections.abc import Callable

import httpx2
from huggingface_hub import set_client_factory

KillAfter = Callable[[int], list[str]]


class Killed(BaseException):
    """The process died here; nothing in between may handle it."""


def kill_client_after(k: int) -> list[str]:
    """Make the client die when its k-th request has been carried out and its answer is lost; gives the requests made.

    Dying before a request is sent leaves the same behind as dying after the one before it.
    """

    def die() -> None:
        raise Killed

    return interrupt_client_after(k, die)


def interrupt_client_after(k: int, act: Callable[[], None]) -> list[str]:
    """Let something happen when the client's k-th request has been carried out; requests of `act` are not counted."""
    seen: list[str] = []
    lock, acting = threading.Lock(), threading.local()

    class Transport(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            response = super().handle_request(request)
            if getattr(acting, "now", False):
                return response
            with lock:
                seen.append(f"{request.method} {request.url.path}")
                number = len(seen)
            if number == k:
                response.read()
                acting.now = True
                try:
                    act()
                finally:
                    acting.now = False
            return response

    set_client_factory(lambda: httpx2.Client(transport=Transport(), follow_redirects=True))
    return seen
