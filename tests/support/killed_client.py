"""A client of the Hub that dies: the process ends after a chosen request."""

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
    seen: list[str] = []
    lock = threading.Lock()

    class Transport(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            response = super().handle_request(request)
            with lock:
                seen.append(f"{request.method} {request.url.path}")
                number = len(seen)
            if number == k:
                response.close()
                raise Killed
            return response

    set_client_factory(lambda: httpx2.Client(transport=Transport(), follow_redirects=True))
    return seen
