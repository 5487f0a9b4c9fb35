"""Which extra of the package a command needs; it is checked before the command's module is imported."""

from __future__ import annotations

EVERYTHING = ("all", "prefect", "tensorflow", "gradio", "uvicorn")
FLOWS = ("flows", "prefect")
REQUIREMENTS = {
    "up": EVERYTHING,
    "demo": EVERYTHING,
    "team up": EVERYTHING,
    "team backup": EVERYTHING,
    "team restore": EVERYTHING,
    "endpoint": ("all", "tensorflow", "psutil", "uvicorn"),
    "playground": ("all", "tensorflow", "psutil", "gradio"),
    "hub serve": ("emulators", "uvicorn", "starlette", "psutil"),
    "import": ("trainer", "numpy", "safetensors", "tensorflow"),
    "diff": ("trainer", "numpy", "safetensors"),
    "setup gcp": FLOWS,
    "setup pool": FLOWS,
    **dict.fromkeys(("status", "doctor", "train", "apply", "deploy", "worker"), FLOWS),
}
"""By command: the extra, and modules that only it brings. The other commands need the core alone."""


def check_installed(command: str) -> None:
    """Check that what a command needs is installed.

    Args:
        command: Its name, after that of its group.

    Raises:
        MissingExtraError: it is not; the message has the command that installs it.
    """
    if command not in REQUIREMENTS:
        return
    from tasks.extras import require  # after the help, which needs none of it

    extra, *modules = REQUIREMENTS[command]
    require(f"`conceptry {command}`", extra, *modules)
