"""Address of the Prefect server in Prefect's settings; Prefect is imported only where something configures one.

Its import takes more than a second, and installations without flows have none.
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

_URL, _PROFILE = "PREFECT_API_URL", "PREFECT_PROFILE"


def server_address() -> str | None:
    """Return PREFECT_API_URL as Prefect's settings have it; None if no server is configured.

    Raises:
        ModuleNotFoundError: one is configured, and Prefect is not installed.
    """
    if "prefect.settings" not in sys.modules and not _configured():
        return None
    from prefect.settings import get_current_settings

    return get_current_settings().api.url or None


def _configured() -> bool:
    """Whether the environment, or a file that Prefect reads, may name a server; see its page on settings and profiles.

    https://docs.prefect.io/v3/concepts/settings-and-profiles
    """
    if os.environ.get(_URL) or os.environ.get(_PROFILE):
        return True
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    named = (profiles, _URL), (Path(".env"), _URL), (Path("prefect.toml"), "url")
    return any(_contains(path, text) for path, text in named) or _has_section(Path("pyproject.toml"))


def _has_section(path: Path) -> bool:
    """Whether a pyproject.toml configures Prefect; to depend on it, as ours does, is not to configure it."""
    try:
        return "prefect" in tomllib.loads(path.read_text("utf-8")).get("tool", {})
    except (OSError, ValueError):
        return False


def _contains(path: Path, text: str) -> bool:
    try:
        return text in path.read_text("utf-8", "replace")
    except OSError:
        return False
