"""The command `conceptry`: one module per command, which parses, calls and prints.

`app` imports a command's module when it runs, so that `conceptry --help` answers at once.

The docstring of a function `command` is its help text, so what all of them raise is documented here only:
`ConceptryError` for an expected failure, which `main` prints as one message (exit code 1), and `typer.Exit` with a code
of `cli.exit_codes`.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from gc import disable as disable_garbage_collection  # `gc` is the name of a command's module here

_COMPLETES = "_CONCEPTRY_COMPLETE"
"""Variable by which the shell asks for completions."""
_NARROWEST = 20
"""Columns of the narrowest terminal that is believed."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit; an exception is printed as one message, without a traceback, with exit code 1.

    Args:
        argv: Arguments after the program's name; those of this process if left out.
    """
    disable_garbage_collection()  # until the modules of the command are imported: `cli.app` enables it
    # Its search for plug-ins reads the metadata of every installed package, which takes a tenth of a second.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    _print_any_text()
    logging.getLogger("conceptry").addHandler(_TracebacksToFile())
    logging.getLogger("conceptry").propagate = False
    if not os.environ.get("COLUMNS", "80").isdigit() or int(os.environ.get("COLUMNS", "80")) < _NARROWEST:
        os.environ.pop("COLUMNS", None)  # rich prints nothing into no columns
    # Without a configured Prefect server, commands that run a flow start a temporary one. Prefect's default of 20 s is
    # too short for its start on a busy machine.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    try:
        from cli.app import app  # imported here so that `import cli`, which every command module does, needs no typer

        app(args=None if argv is None else list(argv), prog_name="conceptry")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - a user gets words, and the traceback of a bug a file
        if _COMPLETES in os.environ:
            sys.exit(1)  # the shell would show a message in the middle of the command line
        from cli.failures import as_message  # imported on failure only

        _print("error:", "bold red", as_message(error))
        sys.exit(1)


class _TracebacksToFile(logging.Handler):
    """Handler for what `conceptry.isolation` logs of exceptions that ended no command: words for the user."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message of a record, and write its traceback to a file."""
        from cli.failures import keep_traceback

        error = record.exc_info[1] if record.exc_info else None
        _print("warning:", "yellow", record.getMessage() + (f"; {keep_traceback(error)}" if error else ""))


def _print_any_text() -> None:
    """Let stdout and stderr take characters that their encoding lacks, and be missing (`conceptry ... >&-`)."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _print(kind: str, style: str, message: str) -> None:
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(kind, style=style, end=" ")
    console.print(message, markup=False)
