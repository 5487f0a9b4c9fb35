"""A trainer that takes seconds and learns nothing, in place of `python -m trainer` in processes of a test."""

import os
from pathlib import Path

_PACKAGE = """
__path__ = [*__path__, {real!r}]
"""
_PROGRAM = """
import json, sys, time
from pathlib import Path
if "--check" in sys.argv:
    sys.exit(0)
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
from tests.support.trained import make_trained
config, output = json.loads(Path(given["--config"]).read_text()), Path(given["--output"])
(Path({starts!r}) / f"{{config['placeholder_token'][1:-1]}}-{{time.time_ns()}}").touch()
time.sleep({seconds})
made = output / "made"
make_trained(made, token=config["placeholder_token"], loss=0.05)
for part in sorted(made.iterdir(), key=lambda path: path.name == "metrics.json"):
    part.rename(output / part.name)
made.rmdir()
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
