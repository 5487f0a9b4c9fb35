"""Configuration of the local Hub: views of versions, and environment variables of Spaces and endpoints."""

from __future__ import annotations

from pathlib import Path

HUB_CONFIG = Path(__file__).with_suffix(".yaml")
"""The file for the Hub's `--config`."""


def hub_arguments(root: Path, host: str, port: int) -> list[str]:
    """Return the arguments after `python -m` that serve the Hub in `root`; a caller may append further flags."""
    address = ["--host", host, "--port", str(port)]
    return ["emulators.hub", "--root", str(root), *address, "--config", str(HUB_CONFIG)]
