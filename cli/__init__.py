"""The command `conceptry`: one module a command, which parses, calls and prints.

`app` imports a command's module when it runs, so that `conceptry --help` answers at once.
"""

import os
import sys


def main() -> None:
    """Run the command line; an error that Conceptry knows is printed as one message, without a traceback."""
    from cli.app import app  # keeps `import cli` free of typer, for who only wants a command's functions

    # Where no Prefect server is named, commands that run a flow start one for themselves; its own 20 s are too few for
    # a busy machine.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    try:
        app(prog_name="conceptry")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        from conceptry.errors import ConceptryError  # only now: not every command needs it

        if not isinstance(error, ConceptryError):
            raise
        from rich.console import Console

        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print("error:", style="bold red", end=" ")
        console.print(str(error), markup=False)
        sys.exit(1)
