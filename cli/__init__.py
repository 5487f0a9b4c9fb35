"""The command `conceptry`: every command is a few lines over the flows, with its reading and printing beside it.

Nothing heavier than typer is imported until a command needs it, so that `conceptry --help` answers at once.
"""

import os
import sys


def main() -> None:
    """Run the command line; a mistake that Conceptry knows is printed as one message, without a traceback."""
    from cli.app import app

    # Where no Prefect server is named, commands that run a flow start one for themselves; its own 20 s are too few for
    # a busy machine.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    try:
        app(prog_name="conceptry")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        from conceptry.errors import ConceptryError

        if not isinstance(error, ConceptryError):
            raise
        from rich.console import Console

        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print("error:", style="bold red", end=" ")
        console.print(str(error), markup=False)
        sys.exit(1)
