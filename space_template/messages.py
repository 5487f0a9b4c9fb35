"""Messages of the Playground: the loading progress, the seed of each picture, and why nothing was drawn."""

from __future__ import annotations

import html
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
import numpy.typing as npt

from space_template.loading import ModelUnavailableError
from space_template.model_worker import ModelWorker
from space_template.request import DrawingRequest
from space_template.settings import SpaceSettings
from space_template.theme import notice_html

LOG = logging.getLogger(__name__)


def first_notice(settings: SpaceSettings, worker: ModelWorker, fetching: str = "") -> str:
    """Render the banner over the Playground, empty when all is well; `fetching` is what is being downloaded."""
    if worker.problem is not None:
        return notice_html(worker.problem, "bad", role="alert")
    if not worker.ready:
        what = f"Fetching the base model, once: {fetching}." if fetching else "Loading the model."
        return notice_html(f"{what} What you ask for now is drawn as soon as it is there.", "busy")
    if not settings.published:
        token = settings.placeholder_token
        return notice_html(f"No version is published yet: the base model draws, and {token} means nothing to it.")
    return ""


def captioned(pictures: npt.NDArray[Any], request: DrawingRequest) -> list[tuple[Any, str]]:
    """Pair each picture with the seed that draws it again, as a gallery takes them."""
    return [(picture, f"seed {request.seed + index}") for index, picture in enumerate(pictures)]


@contextmanager
def errors_on_the_page() -> Iterator[None]:
    """Turn every error into a message on the page, escaped, because Gradio takes it for HTML.

    Raises:
        gr.Error: The block raised; the message says why, in words for the visitor.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise _shown("The prompt holds half a character, as a cut emoji leaves it: type it again.") from error
    except (ModelUnavailableError, ValueError) as error:
        raise _shown(str(error)) from error
    except MemoryError as error:
        raise _shown("The machine ran out of memory: ask for fewer or smaller pictures.") from error
    except Exception as error:
        LOG.exception("a drawing failed")
        raise _shown(f"The drawing failed ({type(error).__name__}): {error}") from error


def told(error: gr.Error) -> str:
    """Return the text of such an error, unescaped."""
    return html.unescape(str(error.message))


def _shown(text: str) -> gr.Error:
    text = text[:1].upper() + text[1:]
    return gr.Error(html.escape(text), title="Cannot draw this", duration=6, print_exception=False)
