"""Commands and environments of child processes that run Python modules."""

import os
import sys
from collections.abc import Iterable


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this installation with this interpreter.

    `-P` keeps the working directory off the module path; otherwise a folder `trainer/` in the user's checkout would
    shadow the package.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment(*, without: Iterable[str] = (), **variables: str) -> dict[str, str]:
    """Return this process's environment for a child process.

    Args:
        without: Prefixes of the variables to leave out.
        variables: Variables to add.
    """
    prefixes = tuple(without)
    kept = {name: value for name, value in os.environ.items() if not (prefixes and name.startswith(prefixes))}
    return kept | variables
