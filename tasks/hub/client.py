"""Client of the Hub, and translation of its errors into the project's own."""

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import HfApi, constants, set_client_factory
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils._http import default_client_factory
from huggingface_hub.utils.tqdm import disable_progress_bars

from conceptry.errors import ConceptryError, HubError, PublishConflictError, TransientError
from conceptry.installation import HubTarget
from tasks.foreign_errors import UNREADABLE, in_words, library_of
from tasks.hub.rate_limits import LIMITS, limit_of, limited
from tasks.hub.refusals import refusal
from tasks.hub.renewed_token import RENEWAL
from tasks.hub.short_waits import ShortWaits

HUGGING_FACE = "https://huggingface.co"
TIMEOUT = httpx2.Timeout(60.0, connect=10.0, write=300.0)
"""Seconds. The library sets no time-out, and a Hub that accepts a connection and never responds would block a run."""


def client(target: HubTarget) -> HfApi:
    """Return the client for a target; without a token it is anonymous, even if this machine has a stored login."""
    _configure()
    if target.endpoint.rstrip("/") != HUGGING_FACE:
        # If hf_xet is installed, the client uploads through Xet without checking that the server supports it.
        constants.HF_HUB_DISABLE_XET = True
    RENEWAL.register(target)
    return HfApi(endpoint=target.endpoint, token=target.token.get_secret_value() if target.token else False)


def new_client() -> httpx2.Client:
    """Return the library's HTTP client with time-outs, rate limits, and the renewal of rotated tokens."""
    return prepare(default_client_factory())


def prepare(session: httpx2.Client) -> httpx2.Client:
    """Add to an HTTP client what every request to the Hub needs."""
    session.timeout = TIMEOUT
    session.auth = ShortWaits()
    hooks = session.event_hooks
    session.event_hooks = {
        "request": [*hooks["request"], LIMITS.before],
        "response": [*hooks["response"], LIMITS.after],
    }
    return session


@functools.cache
def _configure() -> None:
    """Set the process-wide options of the library once: time-outs, renewed tokens, no progress bars, fewer warnings."""

    set_client_factory(new_client)
    # The library warns twice of each of its attempts; what it raises after the last one says the same.
    logging.getLogger("huggingface_hub.utils._http").setLevel(logging.ERROR)
    if constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
        disable_progress_bars()


@contextmanager
def translate_errors(target: HubTarget, doing: str, *, name: str | None = None) -> Iterator[None]:
    """Translate the client's exceptions within the block into the project's own.

    Args:
        target: Hub and owner.
        doing: Operation, as it reads after "while", for example "publishing v3".
        name: Name of the concept.

    Raises:
        TransientError: the network failed, or the Hub responded with 408 or 5xx: a retry may succeed.
        RateLimitedError: the Hub responded with 429.
        RefusedError: the Hub responded with 402, or to a change with 403.
        PublishConflictError: the Hub responded with 409 or 412, which the block did not handle.
        HubError: the Hub refused the request permanently; the message says what to do.
    """
    try:
        yield
    except ConceptryError as error:
        error.concept = error.concept or name
        raise
    except (HfHubHTTPError, httpx2.HTTPError, OSError, RuntimeError, *UNREADABLE) as error:
        translated = _translate(error, target, doing, name)
        if translated is None:
            raise
        raise translated from error


def _translate(error: BaseException, target: HubTarget, doing: str, name: str | None) -> ConceptryError | None:
    """Translate the HTTP response or network failure that caused an error, or an answer that the client cannot read.

    Returns None if there is none of these.
    """
    for cause in _causes(error):
        if isinstance(cause, ConceptryError):
            cause.concept = cause.concept or name
            return cause
        if isinstance(cause, HfHubHTTPError):
            return _of_answer(cause, target, doing, name)
        if isinstance(cause, (httpx2.TransportError, LocalEntryNotFoundError)):
            what = f"{target.endpoint} could not be reached while {doing} ({type(cause).__name__})"
            return TransientError(what, concept=name, next_step=_unreachable(target))
        if isinstance(cause, OfflineModeIsEnabled):
            return HubError(f"HF_HUB_OFFLINE is set while {doing}", concept=name, next_step="unset it")
    if library_of(error, ("huggingface_hub",)):
        what = f"the answer of {target.endpoint} cannot be read while {doing} ({in_words(error)})"
        step = "check CONCEPTRY_HUB_ENDPOINT: is it a Hub, or a page of a proxy?"
        return HubError(what, concept=name, next_step=step)
    return None


def _unreachable(target: HubTarget) -> str:
    if urlsplit(target.endpoint).hostname in ("127.0.0.1", "localhost", "::1"):
        return "start the servers of this set-up with `conceptry up`; flows try again by themselves"
    return "check the network, or try again later; flows try again by themselves"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes; the client wraps failed uploads in a RuntimeError."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _of_answer(error: HfHubHTTPError, target: HubTarget, doing: str, name: str | None) -> ConceptryError:
    status = error.response.status_code
    said = " ".join((error.server_message or "").split())
    what = f"{target.endpoint} answered {status} while {doing}{f': {said}' if said else ''}"
    if status == 429:
        limited_now = limited(target.endpoint, limit_of(error.response, said))
        limited_now.concept = name
        return limited_now
    if status in (408, 425) or status >= 500:
        return TransientError(what, concept=name, next_step="try again later; flows do so by themselves")
    if status in (409, 412):
        return PublishConflictError(
            what, concept=name, next_step="another process wrote first: try again; flows do so by themselves"
        )
    if status in (402, 403):
        return refusal(error, target, what, name)
    steps = {
        401: f"set CONCEPTRY_HUB_TOKEN, or the Prefect block of CONCEPTRY_HUB_TOKEN_BLOCK, to a valid token of "
        f"{target.owner} with write access",
        404: f"check that {target.owner} exists at {target.endpoint} and that the token may see its repos",
        413: "the file is too large for this Hub",
    }
    if isinstance(error, RepositoryNotFoundError):
        status = 404  # with a valid token, the Hub responds with 401 for a repo that the token may not see
    return HubError(what, concept=name, next_step=steps.get(status, "read the Hub's message above"))
