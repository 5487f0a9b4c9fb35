"""A trainer that takes seconds and learns nothing, in place of `python -m trainer` in processes of a test; a training
server runs it, too.
"""

import os
from pathlib import Path

_PACKAGE = """
__path__ = [*__path__, {real!r}]
"""
_PROGRAM = """
import json, os, sys, time
from pathlib import Path
from threading import Event


def main(arguments=None, *, stop=None, open_base=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--check" in arguments:
        return 0
    from tests.support.trained import make_trained

    given = dict(zip(arguments[::2], arguments[1::2]))
    config, output = json.loads(Path(given["--config"]).read_text()), Path(given["--output"])
    (Path({starts!r}) / f"{{config['placeholder_token'][1:-1]}}-{{time.time_ns()}}").touch()
    if (stop or Event()).wait({seconds}):
        return 75
    made = output / "made"
    make_trained(made, token=config["placeholder_token"], loss=0.05)
    for part in sorted(made.iterdir(), key=lambda path: path.name == "metrics.json"):
        part.rename(output / part.name)
    made.rmdir()
    return 0


# A training server calls these, too.
read_options, leave = None, os._exit
if __name__ == "__main__":
    sys.exit(main())
"""


def make_overlay(folder: Path, repo_root: Path, seconds: float) -> tuple[str, Path]:
    """Write the stand-in; return the PYTHONPATH that leads to it, and the folder with a file for each start.

    The file is named after the placeholder token, without its brackets, and the moment.
    """
    starts = folder / "starts"
    package = folder / "overlay" / "trainer"
    package.mkdir(parents=True)
    starts.mkdir()
    starts.chmod(0o777)
    (package / "__init__.py").write_text(_PACKAGE.format(real=str(repo_root / "trainer")))
    (package / "__main__.py").write_text(_PROGRAM.format(starts=str(starts), seconds=seconds))
    return os.pathsep.join([str(package.parent), str(repo_root)]), starts
