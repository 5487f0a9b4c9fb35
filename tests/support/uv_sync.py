"""`uv sync` as an image's Dockerfile calls it, into an environment of its own."""

import os
import pwd
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path


def uv_program(repo_root: Path) -> str:
    """The uv of the checkout, else the one on the PATH."""
    return next(
        str(path) for path in (repo_root / ".uv" / "bin" / "uv", shutil.which("uv")) if path and Path(path).exists()
    )


def uv_variables(base: Mapping[str, str], environment: Path) -> dict[str, str]:
    """The variables with which uv installs into `environment`, with this interpreter and what it has fetched before."""
    return {
        **base,
        "HOME": pwd.getpwuid(os.getuid()).pw_dir,  # where uv keeps what it has fetched
        "UV_PROJECT_ENVIRONMENT": str(environment),
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
    }
