"""What the command line prints about an exception: one message, and never a traceback.

The traceback of an exception that is a bug goes to a file, which the message names.
"""

from __future__ import annotations

import errno
import sys
import tempfile
import traceback

from conceptry.errors import ConceptryError
from conceptry.isolation import printable
from tasks.foreign_errors import in_words, library_of

_CLIENTS = {
    "huggingface_hub": ("the Hub", "check CONCEPTRY_HUB_ENDPOINT: is it a Hub, or a page of a proxy?"),
    "prefect": ("the Prefect server", "check PREFECT_API_URL, and compare the server's version with this machine's"),
}
BUG = "an unexpected error"
"""Begin of the message about an exception that no module expects."""


def as_message(error: Exception) -> str:
    """Return the message about an exception that ended a command."""
    return printable(str(expected(error) or _report(error)))


def expected(error: Exception) -> Exception | None:
    """Return the error to print for an exception; None for a bug."""
    if isinstance(error, ConceptryError):
        return error
    httpx = sys.modules.get("httpx")
    if httpx is not None and isinstance(error, httpx.HTTPError):  # only Prefect's client uses httpx
        from tasks.prefect_client import server_problem

        return server_problem(error)
    if isinstance(error, ModuleNotFoundError):
        from tasks.extras import extra_of, missing_extra

        if extra := extra_of(error.name or ""):
            return missing_extra("this command", extra, [error.name or ""])
    return _of_library(error) or (_of_system(error) if isinstance(error, OSError) else None)


def _of_library(error: Exception) -> ConceptryError | None:
    """Return the error for an answer of a server that its client cannot read; None for another exception."""
    library = library_of(error, _CLIENTS)
    if library is None:
        return None
    server, step = _CLIENTS[library]
    return ConceptryError(f"the answer of {server} cannot be read ({in_words(error)})", next_step=step)


def _of_system(error: OSError) -> ConceptryError | None:
    """Return the error for a refusal of the operating system, such as a missing permission; None if it names no file.

    Files of this project's own commands are named by the user, or below a folder that the user named.
    """
    if error.errno == errno.ENOSPC:
        return ConceptryError("no space is left on the disk", file=_name(error), next_step="free some space")
    if error.filename is None and error.errno == errno.ENOENT:  # of os.getcwd
        return ConceptryError("the current folder no longer exists", next_step="change to another one")
    if error.filename is None or error.errno is None:
        return None
    steps = {
        errno.EACCES: "give this user the right to it, or name another one",
        errno.EPERM: "give this user the right to it, or name another one",
        errno.EROFS: "it is on a file system that is read-only: name another one",
        errno.ENOTDIR: "a file stands where a folder has to be: remove it, or name another folder",
        errno.EISDIR: "a folder stands where a file has to be: name another file",
        errno.EEXIST: "it exists already: remove it, or name another one",
        errno.ENOENT: "it does not exist: check its name",
        errno.ENAMETOOLONG: "its name is too long",
        errno.ELOOP: "its symbolic links form a loop",
    }
    return ConceptryError(
        (error.strerror or "cannot be used").lower(), file=_name(error), next_step=steps.get(error.errno)
    )


def _name(error: OSError) -> str | None:
    name = error.filename
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else None if name is None else str(name)


def _report(error: Exception) -> ConceptryError:
    return ConceptryError(f"{BUG} ({in_words(error)})", next_step=f"{keep_traceback(error)}: please report it")


def keep_traceback(error: BaseException) -> str:
    """Write the traceback of a bug to a file of this user; return the words that name the file."""
    text = "".join(traceback.format_exception(error)).encode(errors="backslashreplace")
    try:
        with tempfile.NamedTemporaryFile(prefix="conceptry-", suffix=".log", delete=False) as file:
            file.write(text)
    except OSError as problem:
        return f"its traceback could not be written ({problem})"
    return f"its traceback is in {file.name}"
