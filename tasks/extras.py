"""Parts of the project that are installed on demand, and the command that installs them as this one was installed.

The core reads git, DVC and the Hub. Training, Prefect, the Space and the emulated clouds are extras of pyproject.toml.
"""

from __future__ import annotations

import json
import shlex
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from conceptry.errors import MissingExtraError

EXTRAS = {
    "trainer": ("tensorflow", "keras", "h5py", "safetensors", "numpy"),
    "flows": ("prefect", "prefect_gcp", "google", "sqlalchemy", "httpx", "psutil", "tenacity"),
    "space": ("gradio",),
    "emulators": ("uvicorn", "starlette", "jinja2", "nh3", "markdown_it", "grpc", "pathspec", "cryptography"),
}
"""Extras, with the modules that only they bring."""
_NAME = "conceptry"


def require(what: str, extra: str, *modules: str) -> None:
    """Check that the modules of an extra are installed, without importing them.

    Args:
        what: What needs them, for the message.
        extra: The extra to install.
        modules: Names of top-level modules.

    Raises:
        MissingExtraError: some are not; the message has the command.
    """
    missing = [module for module in modules if not is_installed(module)]
    if missing:
        raise missing_extra(what, extra, missing)


@cache
def is_installed(module: str) -> bool:
    """Whether a top-level module can be imported; it is not imported."""
    return module in sys.modules or find_spec(module) is not None


def missing_extra(what: str, extra: str, modules: list[str]) -> MissingExtraError:
    """Return the error that says what is missing, and the command that installs it."""
    return MissingExtraError(f"{what} needs {', '.join(modules)}", next_step=f"run `{install_command(extra)}`")


def extra_of(module: str) -> str | None:
    """Return the extra that brings a module; None if it belongs to none."""
    top = module.partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if top in modules), None)


def install_command(extra: str | None = None, *, also: str | None = None) -> str:
    """Return the command that installs this package again, with an extra, or with another package beside it.

    Args:
        extra: Extra to add.
        also: Requirement of another package, for example a plug-in of DVC.
    """
    origin = _origin()
    folder = _editable(origin)
    if folder is not None:
        project = shlex.quote(str(folder))
        return f"uv pip install {also}" if also else f"uv sync --project {project} --all-extras"
    name = f"{_NAME}[{extra}]" if extra else _NAME
    address = _address(origin)
    requirement = shlex.quote(f"{name} @ {address}" if address else name)
    prefix = Path(sys.prefix)
    if (prefix / "uv-receipt.toml").is_file():
        # `dvc add` and `dvc push` are typed by users, too.
        return f"uv tool install --force --with-executables-from dvc {f'--with {also} ' if also else ''}{requirement}"
    if (prefix / "pipx_metadata.json").is_file():
        return f"pipx inject {_NAME} {also}" if also else f"pipx install --force {requirement}"
    wanted = also or requirement
    if is_installed("pip"):
        return f"{shlex.quote(sys.executable)} -m pip install {wanted}"
    return f"uv pip install --python {shlex.quote(sys.executable)} {wanted}"


def _origin() -> dict[str, Any]:
    """Return what the installer noted about the origin, as PEP 610 says; empty for a package of an index."""
    try:
        noted = distribution(_NAME).read_text("direct_url.json")
    except PackageNotFoundError:
        return {"url": Path(__file__).resolve().parents[1].as_uri(), "dir_info": {"editable": True}}
    return dict(json.loads(noted)) if noted else {}


def _editable(origin: dict[str, Any]) -> Path | None:
    """Return the checkout that is used in place; None if there is none."""
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(origin["url"]).path))


def _address(origin: dict[str, Any]) -> str | None:
    """Return the address of the origin as a requirement names it; None for a package of an index."""
    if not origin:
        return None
    vcs = origin.get("vcs_info")
    return f"{vcs['vcs']}+{origin['url']}@{vcs['commit_id']}" if vcs else str(origin["url"])
