"""The production client of the Hub, and the translation of its errors into the project's own."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

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

HUGGING_FACE = "https://huggingface.co"
TIMEOUT = httpx2.Timeout(60.0, connect=10.0, write=300.0)
"""Seconds. The library sets none, and a Hub that accepts but never answers would hold a run forever."""


def client(target: HubTarget) -> HfApi:
    """Return the client for a target; without a token it stays anonymous, whoever is logged in on this machine."""
    _configure()
    if target.endpoint.rstrip("/") != HUGGING_FACE:
        # Where hf_xet is installed, the client uploads through Xet without asking whether the server has it.
        constants.HF_HUB_DISABLE_XET = True
    return HfApi(endpoint=target.endpoint, token=target.token.get_secret_value() if target.token else False)


@functools.cache
def _configure() -> None:
    """Set what the library has only process-wide, once: time-outs, and no progress bars in a run's log."""

    def client() -> httpx2.Client:
        session = default_client_factory()
        session.timeout = TIMEOUT
        return session

    set_client_factory(client)
    if constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
        disable_progress_bars()


@contextmanager
def translate_errors(target: HubTarget, doing: str, *, name: str | None = None) -> Iterator[None]:
    """Translate what the client raises into errors that say what to do.

    Args:
        target: The Hub that is asked.
        doing: What is being done, to go on after "while", for example "publishing v3".
        name: The concept.

    Raises:
        TransientError: the network failed, or the Hub answered 408, 429 or 5xx: the same call may succeed later.
        PublishConflictError: 409 or 412 that was not expected here.
        HubError: the Hub refused for good; the message says what to do about it.
    """
    try:
        yield
    except ConceptryError as error:
        error.concept = error.concept or name
        raise
    except (HfHubHTTPError, httpx2.HTTPError, OSError, ValueError, RuntimeError) as error:
        translated = _translate(error, target, doing, name)
        if translated is None:
            raise
        raise translated from error


def _translate(error: BaseException, target: HubTarget, doing: str, name: str | None) -> ConceptryError | None:
    """Find the answer or the network failure behind an error; None when it is neither."""
    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            return _of_answer(cause, target, doing, name)
        if isinstance(cause, (httpx2.TransportError, LocalEntryNotFoundError)):
            what = f"{target.endpoint} could not be reached while {doing} ({type(cause).__name__})"
            return TransientError(what, concept=name, next_step="it is tried again; if it lasts, check the network")
        if isinstance(cause, OfflineModeIsEnabled):
            return HubError(f"HF_HUB_OFFLINE is set while {doing}", concept=name, next_step="unset it")
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it; the client wraps failed uploads in a RuntimeError."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _of_answer(error: HfHubHTTPError, target: HubTarget, doing: str, name: str | None) -> ConceptryError:
    status = error.response.status_code
    detail = f": {error.server_message}" if error.server_message else ""
    what = f"{target.endpoint} answered {status} while {doing}{detail}"
    if status in (408, 425, 429) or status >= 500:
        return TransientError(what, concept=name, next_step="it is tried again later")
    if status in (409, 412):
        return PublishConflictError(what, concept=name, next_step="somebody else was faster; it is tried again")
    steps = {
        401: f"set CONCEPTRY_HUB_TOKEN to a valid token of {target.owner} with write access",
        402: f"add a way to pay in the billing settings of {target.owner}, or ask for hardware that is free "
        "(space.hardware: cpu-basic)",
        403: f"the token may not do this: give it write access to the repos of {target.owner}",
        404: f"check that {target.owner} exists at {target.endpoint} and that the token may see its repos",
        413: "it is too large for this Hub",
    }
    if isinstance(error, RepositoryNotFoundError):
        status = 404  # the Hub says 401 also for a repo that somebody may not know of
    return HubError(what, concept=name, next_step=steps.get(status, "see the Hub's message"))
