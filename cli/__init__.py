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
        # Imported on failure only: `conceptry --help` needs none of them.
        import httpx
        from rich.console import Console

        from conceptry.errors import ConceptryError

        if isinstance(error, httpx.HTTPError):  # only Prefect's client uses httpx
            from tasks.prefect_client import server_problem

            error = server_problem(error)
        if not isinstance(error, ConceptryError):
            raise
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print("error:", style="bold red", end=" ")
        console.print(str(error), markup=False)
        sys.exit(1)
