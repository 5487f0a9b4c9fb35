"""Child processes of Python modules: started so that no folder of the working directory can take a module's place."""

import os
import sys
from collections.abc import Iterable


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this installation with this interpreter.

    `-P` keeps the working directory off the module path: a checkout with a folder `trainer/` of its own would otherwise
    be run instead of ours.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment(*, without: Iterable[str] = (), **variables: str) -> dict[str, str]:
    """Return this process's environment for a child process.

    Args:
        without: Prefixes of variables that the child must not see.
        variables: What is set for the child besides.
    """
    prefixes = tuple(without)
    kept = {name: value for name, value in os.environ.items() if not (prefixes and name.startswith(prefixes))}
    return kept | variables
