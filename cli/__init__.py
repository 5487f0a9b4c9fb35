"""The command `conceptry`: one module per command, which parses, calls and prints.

`app` imports a command's module when it runs, so that `conceptry --help` answers at once.

The docstring of a function `command` is its help text, so what all of them raise is documented here only:
`ConceptryError` for an expected failure, which `main` prints as one message (exit code 1), and `typer.Exit` with a code
of `cli.exit_codes`.
"""

import os
import sys


def main() -> None:
    """Run the command line; print a ConceptryError as one message, without a traceback, and exit with code 1."""
    from cli.app import app  # imported here so that `import cli`, which every command module does, needs no typer

    # Without a configured Prefect server, commands that run a flow start a temporary one. Prefect's default of 20 s is
    # too short for its start on a busy machine.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    try:
        app(prog_name="conceptry")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        known = expected(error)
        if known is None:
            raise
        from rich.console import Console  # imported on failure only

        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print("error:", style="bold red", end=" ")
        console.print(str(known), markup=False)
        sys.exit(1)


def expected(error: Exception) -> Exception | None:
    """Return the error to print for an exception; None for a bug, whose traceback is printed.

    Imported here: `conceptry --help` needs none of them.
    """
    from conceptry.errors import ConceptryError
    from tasks.extras import extra_of, missing_extra

    httpx = sys.modules.get("httpx")
    if httpx is not None and isinstance(error, httpx.HTTPError):  # only Prefect's client uses httpx
        from tasks.prefect_client import server_problem

        return server_problem(error)
    if isinstance(error, ModuleNotFoundError) and (extra := extra_of(error.name or "")):
        return missing_extra("this command", extra, [error.name or ""])
    return error if isinstance(error, ConceptryError) else None
